package rotate_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// withKey is a sandbox's world whose API key that is rotated is another one.
func withKey(change func(k *sandbox.APIKey)) sandbox.Config {
	seed := sandbox.DefaultSeed()
	at := slices.IndexFunc(seed.APIKeys, func(k sandbox.APIKey) bool { return k.ID == sandbox.RotatedAPIKeyID })
	change(&seed.APIKeys[at])
	return sandbox.Config{Seed: seed}
}

// held are the API keys of the rotation, as the API shows them.
func (r *rig) held() kinds.Holder {
	r.t.Helper()
	keeper, _ := kinds.Of(r.what.kind).Rotates.Keeper(r.spec.In, r.spec.Place, r.spec.Subject)
	held, err := keeper.Read(func(a kinds.Ask) (kinds.Told, error) { return r.client().Ask(r.t.Context(), r.job(), a) })
	if err != nil {
		r.t.Fatal(err)
	}
	return held
}

// TestKeyLikeTheOldOne: the new API key has the roles, the projects, the access list and the description of the old one, and what the old
// one gets until it is deleted. The next rotation goes on from there.
func TestKeyLikeTheOldOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keys(), withKey(func(k *sandbox.APIKey) { k.Name = strings.Repeat("é", 120) }))
		defer r.consume(0)()
		old, _ := r.held().Secret(sandbox.RotatedAPIKeyID)
		for range 2 {
			result, _ := r.run(3 * day)
			r.rotated(result)
			fresh := r.held().Secrets[0]
			sameRoles := func(a, b kinds.Grant) int {
				return strings.Compare(a.ProjectID+a.OrgID+a.Role, b.ProjectID+b.OrgID+b.Role)
			}
			if slices.SortFunc(fresh.Grants, sameRoles); !slices.Equal(fresh.Grants, slices.SortedFunc(slices.Values(old.Grants), sameRoles)) || !slices.Equal(fresh.List, old.List) {
				t.Errorf("the new one has %v and %v, the old one %v and %v", fresh.Grants, fresh.List, old.Grants, old.List)
			}
			if !strings.HasPrefix(fresh.Text, "ééé") || strings.Count(fresh.Text, "[rekey ") != 1 {
				t.Errorf("the new one is described as %q", fresh.Text)
			}
			r.state = jobs.RotationState{} // The next job.
		}
	})
}

// TestKeyWithoutAccessList: the API does not show when it is used, so that no time passes for its adoption: a person deletes it.
func TestKeyWithoutAccessList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keys(), withKey(func(k *sandbox.APIKey) { k.List = nil }))
		defer r.consume(0)()
		if _, over := r.run(10 * day); over || r.state.Step != jobs.StepAdopt || !strings.HasPrefix(r.state.Waits, "adoption: a person: ") || len(r.ids()) != 2 {
			t.Fatalf("over %v, at %s, waits for %q, there is %v", over, r.state.Step, r.state.Waits, r.ids())
		}
		if code := r.what.delete(r.box, sandbox.RotatedAPIKeyID); code != 204 {
			t.Fatalf("deleting is answered with %d", code)
		}
		result, _ := r.run(day)
		r.rotated(result)
		if r.state.Gone["api_key_id"] != sandbox.RotatedAPIKeyID || r.state.Gone["scope_id"] != sandbox.OrgID {
			t.Errorf("the proof of the old one goes by %v", r.state.Gone)
		}
	})
}

// TestKeyIsGone: without an API key whose roles a new one could have, nothing is made.
func TestKeyIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keys(), sandbox.Config{})
		r.what.delete(r.box, sandbox.RotatedAPIKeyID)
		rotator := r.start()
		var err error
		for end := time.Now().Add(time.Minute); err == nil && time.Now().Before(end); <-time.After(time.Second) {
			_, err = r.pass(rotator, "")
		}
		if err == nil || !strings.Contains(err.Error(), "is gone, and none that a rotation of it has made is there") || r.state.Committed() {
			t.Errorf("error %v, committed %v", err, r.state.Committed())
		}
	})
}

// TestOwnKey: the API key of an account of the worker itself is not deleted before the configuration has both halves of the new one.
func TestOwnKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, keys(), sandbox.Config{})
		file := filepath.Join(t.TempDir(), "private")
		use := func(value string) {
			public, private, _ := strings.Cut(value, ":")
			r.own = atlas.Account{Name: "own", PublicKey: public, PrivateKey: secret.Ref{File: file}}
			if err := os.WriteFile(file, []byte(private), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		use(r.current())
		defer r.consume(0)()
		const waits = "adoption: account own of this worker has another API key than the new one"
		if _, over := r.run(10 * day); over || r.state.Waits != waits || len(r.ids()) != 2 {
			t.Fatalf("over %v, waits for %q, there is %v", over, r.state.Waits, r.ids())
		}
		use(r.current())
		result, _ := r.run(day)
		r.rotated(result)
	})
}
