package app_test

import (
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/policy"
)

var replaying = jobs.Operation{Action: jobs.ActionReplay, By: "somebody", Reason: "mended"}

// canary is a token that must be found nowhere.
func canary() string { return "canary-" + rand.Text() }

// TestNoTokenStays takes tokens through every way that an event can go, and looks for them in
// every file, stream, value, log, metric and output after each step.
func TestNoTokenStays(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Retry.MaxAttempts = 3
	tokens := canaries{"revoked": canary(), "retried": canary(), "exhausted": canary(), "refused": canary(), "misunderstood": canary(), "described": canary()}
	forbidden := jsonReply(http.StatusForbidden, `{"error":"access_denied"}`)
	atlas.script(revokePath, reply{forever: true, write: func(c *call) *reply {
		for name, answer := range map[string]reply{
			"retried": problem(500, "UNEXPECTED_ERROR"), "exhausted": problem(500, "UNEXPECTED_ERROR"), "refused": forbidden,
		} {
			// Twice in vain, and the exhausted one once more.
			limit := map[string]int{"retried": 2, "exhausted": 3, "refused": 1}[name]
			if strings.Contains(c.body, tokens[name]) && atlas.count(tokens[name]) <= limit {
				return &answer
			}
		}
		return &reply{status: http.StatusOK}
	}})
	w := rig.start(t)
	for _, name := range []string{"revoked", "retried", "exhausted", "refused"} {
		w.publish("incident", tokenRevoke(tokens[name]).with("reason", "found "+tokens[name]+" in a log").String())
	}
	w.publish("incident", tokenRevoke(tokens["misunderstood"]).with("account", "later").cloudEvent("urn:siem", "7"))
	w.publish("rotation", `{"text":"the token: `+tokens["described"]+`"}`, "X-Token", tokens["described"])
	w.results(4)
	letters := w.letters(4)
	w.settled()
	tokens.searchEverything(t, w)
	for _, msg := range w.messages("REKEY_EVENTS") {
		t.Errorf("an event that held a token is still there: %s", msg.Data)
	}
	w.stop()
	tokens.searchFiles(t, rig.cfg.NATS.Embedded.StoreDir)
	// Somebody mends it all: the account is configured, the API lets us in.
	rig.cfg.Atlas.Accounts = append(rig.cfg.Atlas.Accounts, config.Account{Name: "later", ClientID: clientID, ClientSecret: rig.cfg.Atlas.Accounts[0].ClientSecret})
	w = rig.start(t)
	client := w.operator()
	defer client.Close()
	for _, letter := range letters {
		if _, err := client.Replay(t.Context(), letter.Sequence, replaying); err != nil {
			t.Errorf("replaying: %v", err)
		}
	}
	w.results(7)
	w.letters(1)
	w.settled()
	tokens.searchEverything(t, w)
	for _, name := range []string{"revoked", "retried", "exhausted", "refused", "misunderstood"} {
		record := w.lastResultOf(fingerprint(tokens[name]))
		if record.Outcome != jobs.OutcomeRevoked {
			t.Errorf("the %s token ended as %s: %s", name, record.Outcome, record.Detail)
		}
	}
	// What has succeeded is not done again, and the identity of what is replayed stays.
	if got := atlas.revoked(tokens["revoked"]); got != 1 {
		t.Errorf("the API was asked %d times to revoke the first token, want once", got)
	}
	if got := w.lastResultOf(fingerprint(tokens["misunderstood"])); got.Events[0].ID != "7" || got.Events[0].Source != "urn:siem" {
		t.Errorf("the replayed event is %v, want 7 of urn:siem", got.Events[0])
	}
	if letters := w.letters(1); len(letters) != 1 || !strings.Contains(letters[0].Header.Get("Rekey-Reason"), "unknown field") {
		t.Errorf("there are %d dead letters, want the one of the event that can never be understood", len(letters))
	}
}

// count is how many requests so far have the text in their body. The lock is held.
func (s *standIn) count(text string) int {
	n := 0
	for _, c := range s.calls {
		if strings.Contains(c.body, text) {
			n++
		}
	}
	return n
}

// lastResultOf is the latest result of a target.
func (s *stranger) lastResultOf(target string) jobs.Record {
	s.t.Helper()
	var last jobs.Record
	for _, r := range s.results(0) {
		if r.record.Target == target {
			last = r.record
		}
	}
	return last
}

func TestRefusingSecretsInTheClear(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Intake.Plaintext = jobs.PlaintextRefuse
	w := rig.start(t)
	token, sealed := canary(), canary()
	w.publish("incident", tokenRevoke(token).String())
	w.publish("incident", x509Disable(hexID(1)).with("reason", "because of mdb_sa_sk_"+token).String())
	w.publish("incident", sealedRevoke(sealTo(t, rig.sealingKey(t), sealed)).String())
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(sealed), 0o600); err != nil {
		t.Fatal(err)
	}
	w.publish("incident", newRequest(jobs.TokenRevoke, map[string]any{"token_file": file}).String())
	w.results(2)
	letters := w.letters(2)
	for _, letter := range letters {
		if reason := letter.Header.Get("Rekey-Reason"); !strings.Contains(reason, "intake.plaintext refuses") || !strings.Contains(string(letter.Data), "redacted") {
			t.Errorf("the letter says %q of %s, want that the clear is refused and no value", reason, letter.Data)
		}
		if code := letter.Header.Get("Rekey-Code"); code != "plaintext" {
			t.Errorf("the code is %q, want plaintext", code)
		}
		if strings.Contains(headerLines(letter.Header), "rekey-seal") {
			t.Error("the letter holds the value, if sealed")
		}
	}
	w.settled()
	canaries{"token": token, "sealed token": sealed}.searchEverything(t, w)
	if _, _, metrics := w.get("/metrics", ""); !strings.Contains(metrics, `rekey_events_received_total{result="refused"} 2`) {
		t.Error("the events are not counted as refused")
	}
	if got := len(w.messages("REKEY_EVENTS")); got != 2 {
		t.Errorf("%d events are left, want the two without a secret in the clear", got)
	}
	if atlas.revoked(token) != 0 || atlas.revoked(sealed) != 2 {
		t.Errorf("the API revoked the token in the clear %d times and the other %d times, want 0 and 2", atlas.revoked(token), atlas.revoked(sealed))
	}
	client := w.operator()
	defer client.Close()
	if _, err := client.Replay(t.Context(), letters[0].Sequence, replaying); err == nil || !strings.Contains(err.Error(), fleet.ErrNotReplayable.Error()) {
		t.Errorf("replaying what was removed: %v, want that it cannot be", err)
	}
}

// TestAllowingSecretsInTheClear also shows that the search finds what there is.
func TestAllowingSecretsInTheClear(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Intake.Plaintext = jobs.PlaintextAllow
	atlas.script(revokePath, jsonReply(http.StatusForbidden, `{"error":"access_denied"}`))
	w := rig.start(t)
	token := canary()
	w.publish("incident", tokenRevoke(token).String())
	refused := w.results(1)[0].record
	w.settled()
	tokens := canaries{"token": token}
	tokens.searchEverything(t, w)
	client := w.operator()
	defer client.Close()
	if _, err := client.Replay(t.Context(), w.letters(1)[0].Sequence, replaying); err != nil {
		t.Fatal(err)
	}
	if got := w.results(2)[1].record; got.JobID != refused.JobID || got.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the replayed job is %s, want revoked under the same id", encoded(got))
	}
	found := false
	err := filepath.WalkDir(rig.cfg.NATS.Embedded.StoreDir, func(path string, entry os.DirEntry, err error) error {
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
	rig, atlas := standInRig(t)
	rig.cfg.Intake.Plaintext, rig.cfg.Policies.List = jobs.PlaintextAllow, []policy.Rule{leakPolicy()}
	atlas.script(revokePath, jsonReply(http.StatusForbidden, `{"error":"access_denied"}`), jsonReply(http.StatusForbidden, `{"error":"access_denied"}`))
	w := rig.start(t)
	tokens := []string{canary(), canary()}
	w.publish("siem", leak(tokens...))
	w.results(2)
	w.settled()
	client := w.operator()
	defer client.Close()
	for _, token := range tokens {
		refused := w.resultOf(fingerprint(token))
		if _, err := client.Retry(t.Context(), refused.JobID, replaying); err != nil {
			t.Fatal(err)
		}
		record, err := client.Await(t.Context(), fleet.Wait{JobID: refused.JobID})
		if err != nil || record.Outcome != jobs.OutcomeRevoked || atlas.revoked(token) == 0 {
			t.Errorf("the retried job is %s, %v, want revoked with its own token", encoded(record), err)
		}
	}
}

// TestRetryOfAPolicyThatIsGone says what to do instead.
func TestRetryOfAPolicyThatIsGone(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Intake.Plaintext, rig.cfg.Policies.List = jobs.PlaintextAllow, []policy.Rule{leakPolicy()}
	atlas.script(revokePath, jsonReply(http.StatusForbidden, `{"error":"access_denied"}`))
	w := rig.start(t)
	w.publish("siem", leak(canary()))
	refused := w.results(1)[0].record
	w.settled()
	w.stop()
	rig.cfg.Policies.List = []policy.Rule{disablePolicy()}
	w = rig.beside("worker-2").start(t)
	client := w.operator()
	defer client.Close()
	_, err := client.Retry(t.Context(), refused.JobID, replaying)
	if err == nil || !strings.Contains(err.Error(), "policy leak does not find its token in event 1 any more; submit the token again") {
		t.Errorf("the error is %v", err)
	}
}

func TestNoTokenStaysAfterAnAbruptEnd(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Atlas.Timeout = crashTimeout
	tokens := canaries{"token": canary(), "misunderstood token": canary()}
	atlas.script(revokePath, holding(make(chan struct{})))
	process, url := rig.startToKill(t)
	victim := dialNATS(t, url)
	victim.publish("incident", tokenRevoke(tokens["misunderstood token"]).with("prio", 1).String())
	victim.letters(1)
	victim.publish("incident", tokenRevoke(tokens["token"]).String())
	atlas.await(t, revokePath, 1)
	// The call may begin before the event's message is settled, but not the next event's intake.
	eventually(t, "the events to be erased", func() bool { return victim.count("REKEY_EVENTS") == 0 })
	process.kill()
	victim.nc.Close()
	tokens.searchFiles(t, rig.cfg.NATS.Embedded.StoreDir)
	w := rig.beside("worker-2").start(t)
	w.results(1)
	w.settled()
	tokens.searchEverything(t, w)
	if got := w.results(1)[0].record; got.Outcome != jobs.OutcomeRevoked || atlas.revoked(tokens["token"]) != 2 {
		t.Errorf("after the crash the job is %s", encoded(got))
	}
}

func TestEncryptedStore(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	rig.cfg.Intake.Plaintext = jobs.PlaintextAllow // So that there is something to hide.
	rig.cfg.NATS.Embedded.EncryptionKeyFile = inFile(t, rand.Text())
	w := rig.start(t)
	token := canary()
	w.publish("incident", tokenRevoke(token).String())
	w.results(1)
	dir := rig.cfg.NATS.Embedded.StoreDir
	w.stop()
	canaries{"token": token, "name of a kind": "token.revoke"}.searchFiles(t, dir)
	again := rig.start(t)
	if got := len(again.results(1)); got != 1 {
		t.Errorf("with the same key there are %d results, want 1", got)
	}
	again.stop()
	for _, file := range []string{inFile(t, rand.Text()), ""} {
		rig.cfg.NATS.Embedded.EncryptionKeyFile = file
		wrong := rig.launch(t)
		select {
		case err := <-wrong.ended:
			wrong.ended <- nil // For the cleanup.
			if err == nil || !strings.Contains(err.Error(), "nats.embedded.encryption_key_file") {
				t.Errorf("with another key the worker ended with %v, want that the key does not fit", err)
			}
		case <-wrong.ready:
			t.Errorf("with the key in %q the worker is ready", file)
		case <-time.After(patience):
			t.Errorf("with the key in %q the worker neither starts nor ends", file)
		}
	}
}
