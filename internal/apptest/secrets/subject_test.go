package secrets_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// request is what a rotation asks for.
type request string

// The requests of a rotation, in their order.
const (
	readAccount request = "read the account" // Of an API key: an access list.
	makeNew     request = "make a credential"
	giveRights  request = "give the new one what the old one has"
	readStore   request = "read the store"
	writeStore  request = "write to the store"
	show        request = "show that it works"
	revokeToken request = "revoke the token"
	endOne      request = "delete a credential"
)

// point is a moment of a rotation: before or after its nth such request reaches the other side.
type point struct {
	request request
	nth     int
	after   bool
	// again is the request at which the worker is killed for the second time; empty: at the same.
	again request
}

func (p point) String() string {
	return fmt.Sprintf("%s %d, %s", p.request, p.nth, map[bool]string{false: "before", true: "after"}[p.after])
}

// both are the moments before and after these requests.
func both(list []point) []point {
	var points []point
	for _, p := range list {
		points = append(points, p)
		p.after = true
		points = append(points, p)
	}
	return points
}

// subject is a kind of what is rotated: the tests that kill workers run for each.
type subject struct {
	kind    jobs.Kind
	name    string  // Of a credential, in messages.
	points  []point // All requests of a rotation.
	abandon []point // All requests of a rotation that is taken back while it waits for adoption.

	seed      func(seed *sandbox.Seed, i int) *account // Adds the ith account.
	configure func(r *config.Rotation, a *account, i int)
	about     func(box *sandbox.Sandbox, a *account, r *http.Request, body []byte) request // Empty: it is not about the account.
	left      func(box *sandbox.Sandbox, a *account) []string                              // The ids of the credentials that there are.
	value     func(box *sandbox.Sandbox, a *account, id string) string                     // As stores have it.
	works     func(box *sandbox.Sandbox, a *account, id string) bool
	use       func(t *testing.T, box *sandbox.Sandbox, a *account) int // Uses what is in the file; the status.
	remove    func(a *account) map[string]any                          // Asks for the end of the first credential.
}

// rotate asks for a rotation.
func (s subject) rotate(name string) string {
	return apptest.Encoded(map[string]any{"kind": s.kind, "params": map[string]any{"rotation": name}})
}

// eachSubject runs a test for each kind of what is rotated.
func eachSubject(t *testing.T, test func(t *testing.T, what subject)) {
	t.Helper()
	for _, what := range []subject{secrets(), keys()} {
		t.Run(string(what.kind), func(t *testing.T) {
			t.Parallel()
			test(t, what)
		})
	}
}

// secrets are those of service accounts, some of which are rotated in the organization and some in the project.
func secrets() subject {
	return subject{
		kind: kinds.ServiceAccountSecretRotate, name: "secret",
		points: []point{
			{request: readAccount, nth: 1},                  // look
			{request: readAccount, nth: 2},                  // room
			{request: readAccount, nth: 3},                  // create
			{request: makeNew, nth: 1},                      // create: the answer is lost
			{request: readStore, nth: 1},                    // deliver
			{request: writeStore, nth: 1, again: readStore}, // deliver
			{request: readStore, nth: 2},                    // deliver: read back
			{request: readAccount, nth: 4},                  // prove
			{request: readStore, nth: 3},                    // prove
			{request: show, nth: 1},                         // prove
			{request: revokeToken, nth: 1},                  // prove
			{request: readAccount, nth: 5},                  // prove
			{request: readAccount, nth: 6},                  // adopt
			{request: readStore, nth: 4},                    // delete
			{request: show, nth: 2},                         // delete
			{request: revokeToken, nth: 2},                  // delete
			{request: endOne, nth: 1, again: readAccount},   // delete, and verify
		},
		abandon: []point{
			{request: readAccount, nth: 1},
			{request: readStore, nth: 1},                    // What it holds.
			{request: show, nth: 1},                         // The old secret works.
			{request: revokeToken, nth: 1},                  // It is shown.
			{request: readStore, nth: 2},                    // Whether it has the new one.
			{request: writeStore, nth: 1, again: readStore}, // It gets the old one.
			{request: endOne, nth: 1, again: readAccount},
		},
		seed: func(seed *sandbox.Seed, i int) *account {
			a := &account{name: fmt.Sprintf("mdb_sa_id_5ec0000000000000000a%04d", i), first: fmt.Sprintf("5ec0000000000000000b%04d", i)}
			seed.ServiceAccounts = append(seed.ServiceAccounts, sandbox.ServiceAccount{ClientID: a.name, Name: a.name, SecretIDs: []string{a.first}, Roles: rolesOf()[:2]})
			return a
		},
		configure: func(r *config.Rotation, a *account, i int) {
			r.ClientID, r.Lifetime = a.name, 720*time.Hour
			if i%3 == 0 {
				r.OrgID, r.ProjectID = "", sandbox.ProjectID
			}
		},
		about: aboutSecret,
		left:  func(box *sandbox.Sandbox, a *account) []string { return secretsOf(box, a.name) },
		value: func(box *sandbox.Sandbox, _ *account, id string) string {
			value, _ := box.Secret(id)
			return value
		},
		works: func(box *sandbox.Sandbox, a *account, id string) bool {
			value, ok := box.Secret(id)
			return ok && box.Works(a.name, value)
		},
		use: func(_ *testing.T, box *sandbox.Sandbox, a *account) int { return mint(box, a.name, a.file) },
		remove: func(a *account) map[string]any {
			return map[string]any{
				"kind": kinds.ServiceAccountSecretDelete, "account": apptest.Security,
				"params": map[string]any{"org_id": sandbox.OrgID, "client_id": a.name, "secret_id": a.first},
			}
		},
	}
}

func aboutSecret(_ *sandbox.Sandbox, a *account, r *http.Request, _ []byte) request {
	client, _, _ := r.BasicAuth()
	switch {
	case client == a.name && strings.HasSuffix(r.URL.Path, "/oauth/token"):
		return show
	case client == a.name:
		return revokeToken
	case strings.Contains(r.URL.Path, a.name):
		return map[string]request{http.MethodGet: readAccount, http.MethodDelete: endOne, http.MethodPost: makeNew}[r.Method]
	}
	return ""
}

// rolesOf are the roles of an account that is rotated. The last one is of API keys alone.
func rolesOf() []sandbox.Role {
	return []sandbox.Role{
		{Name: sandbox.RoleOrgReadOnly, OrgID: sandbox.OrgID}, {Name: "GROUP_READ_ONLY", ProjectID: sandbox.ProjectID}, {Name: "GROUP_READ_ONLY", ProjectID: sandbox.SpareProjectID},
	}
}

// keys are API keys of the organization. All rotations read one list of them: which one reads is known by the access lists that it reads next.
func keys() subject {
	return subject{
		kind: kinds.APIKeyRotate, name: "API key",
		points: []point{
			{request: readAccount, nth: 1},                    // look
			{request: readAccount, nth: 2},                    // room
			{request: readAccount, nth: 3},                    // create
			{request: makeNew, nth: 1},                        // create: the answer is lost
			{request: readAccount, nth: 4},                    // create: whether others made one, too
			{request: readAccount, nth: 5},                    // As above; from here on there are two keys with an access list each.
			{request: giveRights, nth: 1, again: readAccount}, // create: a project
			{request: giveRights, nth: 2, again: readAccount}, // create: the other project
			{request: giveRights, nth: 3, again: readAccount}, // create: the access list
			{request: readStore, nth: 1},                      // deliver
			{request: writeStore, nth: 1, again: readStore},   // deliver
			{request: readStore, nth: 2},                      // deliver: read back
			{request: readAccount, nth: 6},                    // prove
			{request: readStore, nth: 3},                      // prove
			{request: show, nth: 1},                           // prove
			{request: readAccount, nth: 8},                    // prove
			{request: readAccount, nth: 10},                   // adopt
			{request: readStore, nth: 4},                      // delete
			{request: show, nth: 2},                           // delete
			{request: endOne, nth: 1, again: readAccount},     // delete, and verify
		},
		abandon: []point{
			{request: readAccount, nth: 1},
			{request: readStore, nth: 1},                    // What it holds.
			{request: show, nth: 1},                         // The old key works.
			{request: readStore, nth: 2},                    // Whether it has the new one.
			{request: writeStore, nth: 1, again: readStore}, // It gets the old one.
			{request: endOne, nth: 1, again: readAccount},
		},
		seed: func(seed *sandbox.Seed, i int) *account {
			a := &account{name: fmt.Sprintf("rotat%03d", i), first: fmt.Sprintf("5ec0000000000000000c%04d", i)}
			seed.APIKeys = append(seed.APIKeys, sandbox.APIKey{
				PublicKey: a.name, ID: a.first, Name: a.name, Roles: rolesOf(), List: []string{"127.0.0.0/8", "::1/128", "192.0.2.0/24"},
			})
			return a
		},
		configure: func(r *config.Rotation, a *account, _ int) { r.APIKeyID = a.first },
		about:     aboutKey,
		left: func(box *sandbox.Sandbox, a *account) []string {
			var ids []string
			for _, key := range keysOf(box, a) {
				ids = append(ids, key.APIKeyID)
			}
			return ids
		},
		value: func(box *sandbox.Sandbox, a *account, id string) string {
			public, private := halves(box, a, id)
			return public + ":" + private
		},
		works: func(box *sandbox.Sandbox, a *account, id string) bool { return box.Works(halves(box, a, id)) },
		use:   func(t *testing.T, box *sandbox.Sandbox, a *account) int { return readAs(t, box, a.file) },
		remove: func(a *account) map[string]any {
			return map[string]any{
				"kind": kinds.APIKeyDelete, "account": apptest.Security, "params": map[string]any{"org_id": sandbox.OrgID, "api_key_id": a.first},
			}
		},
	}
}

func aboutKey(box *sandbox.Sandbox, a *account, r *http.Request, body []byte) request {
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/apiKeys") && strings.Contains(string(body), "[rekey "+a.first) {
		return makeNew
	}
	user := r.Header.Get("Authorization")
	named := func(id string) bool { return strings.Contains(r.URL.Path, id) }
	if !strings.Contains(user, `username="`) && !named(a.first) && !slices.ContainsFunc(a.made, named) {
		return "" // Most requests: to ask the sandbox about each of them, for each account, is much work.
	}
	for _, key := range keysOf(box, a) {
		switch {
		case strings.Contains(user, `username="`+key.ID+`"`):
			return show
		case named(key.APIKeyID):
			return map[string]request{http.MethodGet: readAccount, http.MethodDelete: endOne, http.MethodPost: giveRights}[r.Method]
		}
	}
	return ""
}

// keysOf are the API keys of a rotation that there are.
func keysOf(box *sandbox.Sandbox, a *account) []sandbox.AccountState {
	return slices.DeleteFunc(box.State().Accounts, func(s sandbox.AccountState) bool {
		return s.APIKeyID == "" || s.APIKeyID != a.first && !slices.Contains(a.made, s.APIKeyID)
	})
}

// halves are the public and the private key of an API key.
func halves(box *sandbox.Sandbox, a *account, id string) (public, private string) {
	for _, key := range keysOf(box, a) {
		if key.APIKeyID == id {
			private, _ = box.Secret(key.ID)
			return key.ID, private
		}
	}
	return "", ""
}
