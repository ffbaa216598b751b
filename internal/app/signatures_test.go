package app_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rekey/internal/config"
	"rekey/internal/event"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

func signer(t *testing.T) (event.SigningKey, string, secret.Ref) {
	t.Helper()
	key, public, err := event.GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	return key, public, secret.Ref{File: inFile(t, key.Seed().Reveal())}
}

func TestSignedEvents(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	siem, siemKey, _ := signer(t)
	_, _, own := signer(t)
	in := &rig.cfg.Intake
	in.Signatures, in.SigningSeed = config.SignaturesRequired, own
	in.Signers = []config.EventSigner{{Source: "urn:siem", PublicKeys: []string{siemKey}}}
	w := rig.start(t)
	event := func(id string, r request) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"urn:siem","type":"rekey.job.requested.v1","time":%q,"data":%s}`,
			id, time.Now().UTC().Format(time.RFC3339Nano), r)
	}
	sign := func(payload string) string {
		signature, err := siem.Sign([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	good := event("1", x509Disable(hexID(1)))
	w.publish("incident", good, "Rekey-Signature", sign(good))
	w.publish("incident", good, "Rekey-Signature", sign(good)) // Somebody has kept it: the same event.
	w.results(1)
	forged := event("2", x509Disable(hexID(2)))
	w.publish("incident", forged, "Rekey-Signature", sign(good))
	w.publish("incident", x509Disable(hexID(3)).String())
	token := canary()
	w.publish("incident", event("4", tokenRevoke(token)))
	letters := w.letters(3)
	for _, letter := range letters {
		if code := letter.Header.Get("Rekey-Code"); code != "signature" {
			t.Errorf("the code is %q, want signature", code)
		}
		if reason := letter.Header.Get("Rekey-Reason"); !strings.Contains(reason, "Rekey-Signature: is ") {
			t.Errorf("the reason is %q, want that the signature is missing or wrong", reason)
		}
	}
	w.settled()
	for _, id := range []int{2, 3} {
		if got := len(atlas.requests(hexID(id))); got > 0 {
			t.Errorf("an event without a signature made %d calls", got)
		}
	}
	if got := len(atlas.authenticated(hexID(1))); got != 1 {
		t.Errorf("the signed event made %d calls, want 1", got)
	}
	_, _, metrics := w.get("/metrics", "")
	if !strings.Contains(metrics, `rekey_events_received_total{result="refused"} 3`) {
		t.Error("the refusals are not counted")
	}
	canaries{"token": token}.searchEverything(t, w)
	// An operator who holds the fleet's key looks at it, and lets it pass.
	client := w.operator()
	defer client.Close()
	if _, err := client.Replay(t.Context(), w.letterOf("4"), replaying); err != nil {
		t.Fatal(err)
	}
	made, err := client.Submit(t.Context(), "rekey/operator", "5", x509Disable(hexID(5)))
	if err != nil {
		t.Fatal(err)
	}
	if record, err := client.Await(t.Context(), fleet.Wait{JobID: made.JobID}); err != nil || record.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the operator's job ended as %s, %v", record.Outcome, err)
	}
	if got := w.resultOf(fingerprint(token)); got.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the replayed event's job is %s, want revoked", got.Outcome)
	}
	// One who does not, cannot.
	other := rig.beside("nobody")
	other.cfg.Intake.SigningSeed = secret.Ref{}
	stranger, err := fleet.Dial(t.Context(), other.cfg, w.NATS, rig.lookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Submit(t.Context(), "rekey/operator", "6", x509Disable(hexID(6))); err != nil {
		t.Fatal(err)
	}
	if letter := w.letterOf("6"); letter == 0 {
		t.Error("a request without a signature is no dead letter")
	}
}

// letterOf waits for the dead letter of an event and returns its number.
func (s *stranger) letterOf(event string) uint64 {
	s.t.Helper()
	var number uint64
	eventually(s.t, "the dead letter of event "+event, func() bool {
		for _, letter := range s.messages("REKEY_DLQ") {
			if letter.Header.Get("Rekey-Event-Id") == event {
				number = letter.Sequence
			}
		}
		return number > 0
	})
	return number
}
