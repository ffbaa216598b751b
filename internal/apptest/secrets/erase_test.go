package secrets_test

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/policy"
)

var replaying = jobs.Operation{Action: jobs.ActionReplay, By: "an operator", Reason: "mended"}

// TestNoTokenStays takes tokens through every way that an event can go, and looks for them in
// every file, stream, value, log, metric and output after each step.
func TestNoTokenStays(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Retry.MaxAttempts = 3
	tokens := apptest.Canaries{"revoked": apptest.Canary(), "retried": apptest.Canary(), "exhausted": apptest.Canary(), "refused": apptest.Canary(), "misunderstood": apptest.Canary(), "described": apptest.Canary()}
	forbidden := apptest.JSONReply(http.StatusForbidden, `{"error":"access_denied"}`)
	atlas.Script(apptest.RevokePath, apptest.Reply{Forever: true, Write: func(c *apptest.Call) *apptest.Reply {
		for name, answer := range map[string]apptest.Reply{
			"retried": apptest.Problem(500, "UNEXPECTED_ERROR"), "exhausted": apptest.Problem(500, "UNEXPECTED_ERROR"), "refused": forbidden,
		} {
			// Twice in vain, and the exhausted one once more.
			limit := map[string]int{"retried": 2, "exhausted": 3, "refused": 1}[name]
			if strings.Contains(c.Body, tokens[name]) && atlas.Count(tokens[name]) <= limit {
				return &answer
			}
		}
		return &apptest.Reply{Status: http.StatusOK}
	}})
	w := rig.Start(t)
	for _, name := range []string{"revoked", "retried", "exhausted", "refused"} {
		w.Publish("incident", apptest.TokenRevoke(tokens[name]).With("reason", "found "+tokens[name]+" in a log").String())
	}
	w.Publish("incident", apptest.TokenRevoke(tokens["misunderstood"]).With("account", "later").CloudEvent("urn:siem", "7"))
	w.Publish("rotation", `{"text":"the token: `+tokens["described"]+`"}`, "X-Token", tokens["described"])
	w.Results(4)
	letters := w.Letters(4)
	w.Settled()
	tokens.SearchEverything(t, w)
	for _, msg := range w.Messages("REKEY_EVENTS") {
		t.Errorf("an event that held a token is still there: %s", msg.Data)
	}
	w.Stop()
	tokens.SearchFiles(t, rig.Cfg.NATS.Embedded.StoreDir)
	// An operator mends it all: the account is configured, the API lets us in.
	rig.Cfg.Atlas.Accounts = append(rig.Cfg.Atlas.Accounts, config.Account{Name: "later", ClientID: apptest.ClientID, ClientSecret: rig.Cfg.Atlas.Accounts[0].ClientSecret})
	w = rig.Start(t)
	client := w.Operator()
	defer client.Close()
	for _, letter := range letters {
		if _, err := client.Replay(t.Context(), letter.Sequence, replaying); err != nil {
			t.Errorf("replaying: %v", err)
		}
	}
	w.Results(7)
	w.Letters(1)
	w.Settled()
	tokens.SearchEverything(t, w)
	for _, name := range []string{"revoked", "retried", "exhausted", "refused", "misunderstood"} {
		record := w.LastResultOf(apptest.Fingerprint(tokens[name]))
		if record.Outcome != jobs.OutcomeRevoked {
			t.Errorf("the %s token ended as %s: %s", name, record.Outcome, record.Detail)
		}
	}
	// What has succeeded is not done again, and the identity of what is replayed stays.
	if got := atlas.Revoked(tokens["revoked"]); got != 1 {
		t.Errorf("the API was asked %d times to revoke the first token, want once", got)
	}
	if got := w.LastResultOf(apptest.Fingerprint(tokens["misunderstood"])); got.Events[0].ID != "7" || got.Events[0].Source != "urn:siem" {
		t.Errorf("the replayed event is %v, want 7 of urn:siem", got.Events[0])
	}
	if letters := w.Letters(1); len(letters) != 1 || !strings.Contains(letters[0].Header.Get("Rekey-Reason"), "unknown field") {
		t.Errorf("there are %d dead letters, want the one of the event that can never be understood", len(letters))
	}
}

// TestLargeSealedEvent: what is sealed of an event may be more than JetStream takes in headers. It is then the payload of the
// dead letter, and of the event that is published from it.
func TestLargeSealedEvent(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	token := apptest.Canary()
	noise := make([]byte, 60_000)
	rand.Read(noise)
	w.Publish("incident", apptest.TokenRevoke(token).With("account", "later").With("params", map[string]any{
		"token": token + base64.RawURLEncoding.EncodeToString(noise),
	}).CloudEvent("urn:siem", "7"))
	letter := w.Letters(1)[0]
	w.Settled()
	apptest.Canaries{"token": token}.SearchEverything(t, w)
	if got := letter.Header.Get("Rekey-Sealed-Event"); got != "payload" {
		t.Fatalf("the sealed event is in %q, want the payload", got)
	}
	client := w.Operator()
	defer client.Close()
	if shown, err := client.DeadLetter(t.Context(), letter.Sequence); err != nil || shown.Payload != "" {
		t.Errorf("the letter shows %d bytes of what is sealed, %v", len(shown.Payload), err)
	}
	if _, err := client.Replay(t.Context(), letter.Sequence, replaying); err != nil {
		t.Fatal(err)
	}
	again := w.Letters(1)[0]
	if reason := letter.Header.Get("Rekey-Reason"); again.Header.Get("Rekey-Event-Id") != "7" || again.Header.Get("Rekey-Reason") != reason || !strings.Contains(reason, "params.token") {
		t.Errorf("after the replay, the letter says %v", again.Header)
	}
}

// TestDeadLetterThatIsTooLarge for its stream is stored without the copy, and the original stays.
func TestDeadLetterThatIsTooLarge(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	stream, err := w.Js.Stream(t.Context(), "REKEY_DLQ")
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxMsgSize = 4096
	if _, err := w.Js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	w.Publish("incident", apptest.TokenRevoke(apptest.Canary()).With("account", "later").With("reason", strings.Repeat("long ", 2000)).String())
	letter := w.Letters(1)[0]
	if len(letter.Data) != 0 || !strings.Contains(letter.Header.Get("Rekey-Reason"), "reason: has 10000 bytes") {
		t.Errorf("the letter has %d bytes and says %v", len(letter.Data), letter.Header)
	}
	w.Settled()
	if got := len(w.Messages("REKEY_EVENTS")); got != 1 {
		t.Errorf("%d events are kept, want the one that no dead letter carries", got)
	}
}

func TestRefusingSecretsInTheClear(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Intake.Plaintext = jobs.PlaintextRefuse
	w := rig.Start(t)
	token, sealed := apptest.Canary(), apptest.Canary()
	w.Publish("incident", apptest.TokenRevoke(token).String())
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).With("reason", "because of mdb_sa_sk_"+token).String())
	w.Publish("incident", apptest.SealedRevoke(apptest.SealTo(t, rig.SealingKey(t), sealed)).String())
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(sealed), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Publish("incident", apptest.NewRequest(kinds.TokenRevoke, map[string]any{"token_file": file}).String())
	w.Results(2)
	letters := w.Letters(2)
	for _, letter := range letters {
		if reason := letter.Header.Get("Rekey-Reason"); !strings.Contains(reason, "intake.plaintext refuses") || !strings.Contains(string(letter.Data), "redacted") {
			t.Errorf("the letter says %q of %s, want that the clear is refused and no value", reason, letter.Data)
		}
		if code := letter.Header.Get("Rekey-Code"); code != "plaintext" {
			t.Errorf("the code is %q, want plaintext", code)
		}
		if strings.Contains(apptest.HeaderLines(letter.Header), "rekey-seal") {
			t.Error("the letter holds the value, if sealed")
		}
	}
	w.Settled()
	apptest.Canaries{"token": token, "sealed token": sealed}.SearchEverything(t, w)
	w.AwaitMetrics(map[string]float64{`rekey_events_received_total{result="refused"}`: 2})
	if got := len(w.Messages("REKEY_EVENTS")); got != 2 {
		t.Errorf("%d events are left, want the two without a secret in the clear", got)
	}
	if atlas.Revoked(token) != 0 || atlas.Revoked(sealed) != 2 {
		t.Errorf("the API revoked the token in the clear %d times and the other %d times, want 0 and 2", atlas.Revoked(token), atlas.Revoked(sealed))
	}
	client := w.Operator()
	defer client.Close()
	if _, err := client.Replay(t.Context(), letters[0].Sequence, replaying); err == nil || !strings.Contains(err.Error(), fleet.ErrNotReplayable.Error()) {
		t.Errorf("replaying what was removed: %v, want that it cannot be", err)
	}
}

// TestAllowingSecretsInTheClear also shows that the search finds what there is.
func TestAllowingSecretsInTheClear(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Intake.Plaintext = jobs.PlaintextAllow
	atlas.Script(apptest.RevokePath, apptest.JSONReply(http.StatusForbidden, `{"error":"access_denied"}`))
	w := rig.Start(t)
	token := apptest.Canary()
	w.Publish("incident", apptest.TokenRevoke(token).String())
	refused := w.Results(1)[0].Record
	w.Settled()
	tokens := apptest.Canaries{"token": token}
	tokens.SearchEverything(t, w)
	client := w.Operator()
	defer client.Close()
	if _, err := client.Replay(t.Context(), w.Letters(1)[0].Sequence, replaying); err != nil {
		t.Fatal(err)
	}
	if got := w.Results(2)[1].Record; got.JobID != refused.JobID || got.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the replayed job is %s, want revoked under the same id", apptest.Encoded(got))
	}
	found := false
	err := filepath.WalkDir(rig.Cfg.NATS.Embedded.StoreDir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		found = found || strings.Contains(string(content), token)
		return err
	})
	if err != nil || !found {
		t.Errorf("the token is in no file (%v): this search could not find it elsewhere either", err)
	}
}

// TestRetryOfAPolicysTokenInTheClear: only the event has the token, and only the policy knows where.
func TestRetryOfAPolicysTokenInTheClear(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Intake.Plaintext, rig.Cfg.Policies.List = jobs.PlaintextAllow, []policy.Rule{apptest.LeakPolicy()}
	atlas.Script(apptest.RevokePath, apptest.JSONReply(http.StatusForbidden, `{"error":"access_denied"}`), apptest.JSONReply(http.StatusForbidden, `{"error":"access_denied"}`))
	w := rig.Start(t)
	tokens := []string{apptest.Canary(), apptest.Canary()}
	w.Publish("siem", apptest.Leak(tokens...))
	w.Results(2)
	w.Settled()
	client := w.Operator()
	defer client.Close()
	for _, token := range tokens {
		refused := w.ResultOf(apptest.Fingerprint(token))
		if _, err := client.Retry(t.Context(), refused.JobID, replaying); err != nil {
			t.Fatal(err)
		}
		record, err := client.Await(t.Context(), fleet.Wait{JobID: refused.JobID})
		if err != nil || record.Outcome != jobs.OutcomeRevoked || atlas.Revoked(token) == 0 {
			t.Errorf("the retried job is %s, %v, want revoked with its own token", apptest.Encoded(record), err)
		}
	}
}

// TestRetryOfAPolicyThatIsGone says what to do instead.
func TestRetryOfAPolicyThatIsGone(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Intake.Plaintext, rig.Cfg.Policies.List = jobs.PlaintextAllow, []policy.Rule{apptest.LeakPolicy()}
	atlas.Script(apptest.RevokePath, apptest.JSONReply(http.StatusForbidden, `{"error":"access_denied"}`))
	w := rig.Start(t)
	w.Publish("siem", apptest.Leak(apptest.Canary()))
	refused := w.Results(1)[0].Record
	w.Settled()
	w.Stop()
	rig.Cfg.Policies.List = []policy.Rule{apptest.DisablePolicy()}
	w = rig.Beside("worker-2").Start(t)
	client := w.Operator()
	defer client.Close()
	_, err := client.Retry(t.Context(), refused.JobID, replaying)
	if err == nil || !strings.Contains(err.Error(), "policy leak does not find its token in event 1 any more; submit the token again") {
		t.Errorf("the error is %v", err)
	}
}

func TestNoTokenStaysAfterAnAbruptEnd(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Atlas.Timeout = apptest.CrashTimeout
	tokens := apptest.Canaries{"token": apptest.Canary(), "misunderstood token": apptest.Canary()}
	atlas.Script(apptest.RevokePath, apptest.Holding(make(chan struct{})))
	process, url := rig.StartToKill(t)
	victim := apptest.DialNATS(t, url)
	victim.Publish("incident", apptest.TokenRevoke(tokens["misunderstood token"]).With("prio", 1).String())
	victim.Letters(1)
	victim.Publish("incident", apptest.TokenRevoke(tokens["token"]).String())
	atlas.Await(t, apptest.RevokePath, 1)
	// The call may begin before the event's message is settled, but not the next event's intake.
	apptest.Eventually(t, "the events to be erased", func() bool { return victim.Count("REKEY_EVENTS") == 0 })
	process.Kill()
	victim.Nc.Close()
	tokens.SearchFiles(t, rig.Cfg.NATS.Embedded.StoreDir)
	w := rig.Beside("worker-2").Start(t)
	w.Results(1)
	w.Settled()
	tokens.SearchEverything(t, w)
	if got := w.Results(1)[0].Record; got.Outcome != jobs.OutcomeRevoked || atlas.Revoked(tokens["token"]) != 2 {
		t.Errorf("after the crash the job is %s", apptest.Encoded(got))
	}
}

func TestEncryptedStore(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	rig.Cfg.Intake.Plaintext = jobs.PlaintextAllow // So that there is something to hide.
	rig.Cfg.NATS.Embedded.EncryptionKeyFile = apptest.InFile(t, rand.Text())
	old := filepath.Join(rig.Cfg.NATS.Embedded.StoreDir, "search-rekey-0.db")
	if err := os.WriteFile(old, []byte("token.revoke"), 0o600); err != nil { // From before it was encrypted.
		t.Fatal(err)
	}
	w := rig.Start(t)
	token := apptest.Canary()
	w.Publish("incident", apptest.TokenRevoke(token).String())
	w.Results(1)
	client := w.Operator()
	read := false
	client.OnReading = func(error) { read = true }
	if page, err := client.Jobs(t.Context(), fleet.Query{Kind: kinds.TokenRevoke}); err != nil || len(page.Records) != 1 || !read {
		t.Errorf("a command finds %+v, %v; by reading the streams itself: %v", page, err, read)
	}
	client.Close()
	dir := rig.Cfg.NATS.Embedded.StoreDir
	w.Stop()
	apptest.Canaries{"token": token, "name of a kind": "token.revoke"}.SearchFiles(t, dir)
	again := rig.Start(t)
	if got := len(again.Results(1)); got != 1 {
		t.Errorf("with the same key there are %d results, want 1", got)
	}
	again.Stop()
	for _, file := range []string{apptest.InFile(t, rand.Text()), ""} {
		rig.Cfg.NATS.Embedded.EncryptionKeyFile = file
		wrong := rig.Launch(t)
		select {
		case err := <-wrong.Ended:
			wrong.Ended <- nil // For the cleanup.
			if err == nil || !strings.Contains(err.Error(), "nats.embedded.encryption_key_file") {
				t.Errorf("with another key the worker ended with %v, want that the key does not fit", err)
			}
		case <-wrong.Ready:
			t.Errorf("with the key in %q the worker is ready", file)
		case <-time.After(apptest.Patience):
			t.Errorf("with the key in %q the worker neither starts nor ends", file)
		}
	}
}
