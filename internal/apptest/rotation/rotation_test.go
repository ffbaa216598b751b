package rotation_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/deliver"
	"rekey/internal/jobs"
)

// rig is a worker that can rotate the sandbox's account, and the file that its consumer reads.
func rig(t *testing.T) (*apptest.Rig, *sandbox.Sandbox, string) {
	t.Helper()
	box, api := apptest.ServeSandbox(t, sandbox.Config{Buckets: map[string]sandbox.Bucket{
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
func consume(t *testing.T, api, file string) {
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
				if status := mint(api, file); status != http.StatusOK {
					t.Errorf("the consumer's secret is answered with %d", status)
				}
			}
		}
	}()
}

// mint gets a token with what is in a file, and returns the status; 0 where there was no answer.
func mint(api, file string) int {
	value, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	form := strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode())
	req, err := http.NewRequest(http.MethodPost, api+"/api/oauth/token", form)
	if err != nil {
		return 0
	}
	req.SetBasicAuth(sandbox.RotatedClientID, strings.TrimSpace(string(value)))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	return response.StatusCode
}

// secretsOf are the ids of the secrets of the account that is rotated.
func secretsOf(box *sandbox.Sandbox) []string {
	for _, a := range box.State().Accounts {
		if a.ID == sandbox.RotatedClientID {
			return a.SecretIDs
		}
	}
	return nil
}

const rotate = `{"kind":"service_account_secret.rotate","params":{"rotation":"ci"}}`

// TestRotation: an event rotates the secret; its consumer never meets one that does not work; at the end exactly one exists.
func TestRotation(t *testing.T) {
	t.Parallel()
	r, box, file := rig(t)
	r.Cfg.Proof.Within = time.Minute
	w := r.Start(t)
	consume(t, r.Cfg.Atlas.BaseURL, file)
	w.Publish("rotation", rotate)
	got := w.ResultOf("rotation/ci")
	if got.Outcome != jobs.OutcomeRotated {
		t.Fatalf("the job is %s", apptest.Encoded(got))
	}
	left := secretsOf(box)
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
