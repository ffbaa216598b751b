package secrets_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/deliver"
	"rekey/internal/jobs"
)

// tokenLifetime is short: a service account can have 100 tokens, and its consumer gets one at each use.
const tokenLifetime = 10 * time.Second

// rig is a worker that can rotate the sandbox's account, and the file that its consumer reads.
func rig(t *testing.T) (*apptest.Rig, *sandbox.Sandbox, string) {
	t.Helper()
	box, api := apptest.ServeSandbox(t, sandbox.Config{TokenLifetime: tokenLifetime, Buckets: map[string]sandbox.Bucket{
		sandbox.BucketToken:       {Capacity: 1000, Refill: 1000, Every: time.Minute},
		sandbox.BucketTokenRevoke: {Capacity: 1000, Refill: 1000, Every: time.Minute},
	}})
	r := apptest.SandboxRig(t, box, api)
	file := filepath.Join(t.TempDir(), "secret")
	value, _ := box.Secret(sandbox.RotatedSecretID)
	if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Cfg.Rotations = []config.Rotation{{
		Name: "ci", Account: apptest.Security, OrgID: sandbox.OrgID, ClientID: sandbox.RotatedClientID,
		Lifetime: 720 * time.Hour, QuietFor: 4 * time.Second, WhenFull: config.WhenFullWait, Overdue: config.OverdueAlert,
		Deliver: []deliver.Config{{Type: deliver.TypeFile, Path: file}},
	}}
	return r, box, file
}

// consume uses what is in the file, as a consumer does that reads it for each use, until the test is over.
func consume(t *testing.T, box *sandbox.Sandbox, file string) {
	t.Helper()
	use(t, func() int { return mint(box, sandbox.RotatedClientID, file) })
}

// use uses something again and again until the test is over. It is answered with a status.
func use(t *testing.T, once func() int) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-done })
	go func() {
		defer close(done)
		ticker := time.NewTicker(300 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				if status := once(); status != http.StatusOK {
					t.Errorf("the consumer's secret is answered with %d", status)
				}
			}
		}
	}()
}

// mint gets a token with what is in a file, and returns the status; 0 where the file cannot be read.
func mint(box *sandbox.Sandbox, client, file string) int {
	value, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	form := strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode())
	req := httptest.NewRequest(http.MethodPost, "/api/oauth/token", form)
	req.SetBasicAuth(client, strings.TrimSpace(string(value)))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	box.ServeHTTP(w, req)
	return w.Code
}

// secretsOf are the ids of the secrets of an account.
func secretsOf(box *sandbox.Sandbox, client string) []string {
	for _, a := range box.State().Accounts {
		if a.ID == client {
			return a.SecretIDs
		}
	}
	return nil
}

// TestAPIKeyRotation: an event rotates an API key; at the end exactly one exists, which the store has, and the old one is proven dead.
func TestAPIKeyRotation(t *testing.T) {
	t.Parallel()
	r, box, file := rig(t)
	r.Cfg.Proof.Within = time.Minute
	private, _ := box.Secret(sandbox.RotatedPublicKey)
	write(t, file, sandbox.RotatedPublicKey+":"+private+"\n")
	r.Cfg.Rotations[0].ClientID, r.Cfg.Rotations[0].APIKeyID = "", sandbox.RotatedAPIKeyID
	w := r.Start(t)
	use(t, func() int { return readAs(t, box, file) })
	w.Publish("rotation", `{"kind":"api_key.rotate","params":{"rotation":"ci"}}`)
	got := w.ResultOf("rotation/ci")
	if got.Outcome != jobs.OutcomeRotated || got.Rotation.OldID != sandbox.RotatedAPIKeyID {
		t.Fatalf("the job is %s", apptest.Encoded(got))
	}
	public, value, _ := strings.Cut(strings.TrimSpace(content(t, file)), ":")
	for _, a := range box.State().Accounts {
		if kept, _ := box.Secret(a.ID); a.APIKeyID == sandbox.RotatedAPIKeyID || a.APIKeyID == got.Rotation.NewID && (a.ID != public || kept != value) {
			t.Errorf("there is %+v after %s", a, apptest.Encoded(got.Rotation))
		}
	}
	if proof := w.Proofs(1)[0]; proof.Record.Verdict() != jobs.VerdictVerified {
		t.Errorf("the proof is %s", apptest.Encoded(proof.Record.Proof))
	}
	canaries := apptest.Canaries(map[string]string{"the new key": value, "the old key": private})
	canaries.SearchEverything(t, w)
}

func content(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// readAs reads with the API key that is in a file, and returns the status; 0 where that cannot be done.
func readAs(t *testing.T, box *sandbox.Sandbox, file string) int {
	t.Helper()
	public, private, _ := strings.Cut(strings.TrimSpace(content(t, file)), ":")
	w := httptest.NewRecorder()
	box.ServeHTTP(w, systemRequest())
	challenge, err := digest.FindChallenge(w.Result().Header)
	if err != nil {
		t.Error(err)
		return 0
	}
	credentials, err := digest.Digest(challenge, digest.Options{Method: http.MethodGet, URI: systemPath, Username: public, Password: private, Count: 1})
	if err != nil {
		t.Error(err)
		return 0
	}
	req := systemRequest()
	req.Header.Set("Authorization", credentials.String())
	w = httptest.NewRecorder()
	box.ServeHTTP(w, req)
	return w.Code
}

// systemPath can be read with any API key.
const systemPath = "/api/atlas/v2"

func systemRequest() *http.Request {
	req := httptest.NewRequest(http.MethodGet, systemPath, http.NoBody)
	req.Header.Set("Accept", "application/vnd.atlas.2023-01-01+json")
	return req
}

const rotate = `{"kind":"service_account_secret.rotate","params":{"rotation":"ci"}}`

// TestRotation: an event rotates the secret; its consumer never meets one that does not work; at the end exactly one exists.
func TestRotation(t *testing.T) {
	t.Parallel()
	r, box, file := rig(t)
	r.Cfg.Proof.Within = time.Minute
	w := r.Start(t)
	consume(t, box, file)
	w.Publish("rotation", rotate)
	got := w.ResultOf("rotation/ci")
	if got.Outcome != jobs.OutcomeRotated {
		t.Fatalf("the job is %s", apptest.Encoded(got))
	}
	left := secretsOf(box, sandbox.RotatedClientID)
	if len(left) != 1 || left[0] == sandbox.RotatedSecretID || left[0] != got.Rotation.NewID {
		t.Errorf("the account has %v after %s", left, apptest.Encoded(got.Rotation))
	}
	value, _ := box.Secret(left[0])
	content, err := os.ReadFile(file)
	if err != nil || string(content) != value+"\n" {
		t.Errorf("the file has %d bytes, and not the new secret; error %v", len(content), err)
	}
	for _, step := range got.Rotation.Steps {
		t.Logf("%s: %s: %s", step.Step, step.Will, step.Says)
	}
	proof := w.Proofs(1)[0]
	if proof.Record.Verdict() != jobs.VerdictVerified {
		t.Errorf("the proof is %s", apptest.Encoded(proof.Record.Proof))
	}
}
