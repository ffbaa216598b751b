package secrets_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
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
	return key, public, secret.Ref{File: apptest.InFile(t, key.Seed().Reveal())}
}

func TestSignedEvents(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	siem, siemKey, _ := signer(t)
	_, _, own := signer(t)
	in := &rig.Cfg.Intake
	in.Signatures, in.SigningSeed = config.SignaturesRequired, own
	in.Signers = []config.EventSigner{{Source: "urn:siem", PublicKeys: []string{siemKey}}}
	w := rig.Start(t)
	event := func(id string, r apptest.Request) string {
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
	good := event("1", apptest.X509Disable(apptest.HexID(1)))
	w.Publish("incident", good, "Rekey-Signature", sign(good))
	w.Publish("incident", good, "Rekey-Signature", sign(good)) // A copy that was recorded: the same event.
	w.Results(1)
	forged := event("2", apptest.X509Disable(apptest.HexID(2)))
	w.Publish("incident", forged, "Rekey-Signature", sign(good))
	w.Publish("incident", apptest.X509Disable(apptest.HexID(3)).String())
	token := apptest.Canary()
	w.Publish("incident", event("4", apptest.TokenRevoke(token)))
	letters := w.Letters(3)
	for _, letter := range letters {
		if code := letter.Header.Get("Rekey-Code"); code != "signature" {
			t.Errorf("the code is %q, want signature", code)
		}
		if reason := letter.Header.Get("Rekey-Reason"); !strings.Contains(reason, "Rekey-Signature: is ") {
			t.Errorf("the reason is %q, want that the signature is missing or wrong", reason)
		}
	}
	w.Settled()
	for _, id := range []int{2, 3} {
		if got := len(atlas.Requests(apptest.HexID(id))); got > 0 {
			t.Errorf("an event without a signature made %d calls", got)
		}
	}
	if got := len(atlas.Authenticated(apptest.HexID(1))); got != 1 {
		t.Errorf("the signed event made %d calls, want 1", got)
	}
	w.AwaitMetrics(map[string]float64{`rekey_events_received_total{result="refused"}`: 3})
	apptest.Canaries{"token": token}.SearchEverything(t, w)
	// An operator who holds the fleet's key looks at it, and lets it pass.
	client := w.Operator()
	defer client.Close()
	if _, err := client.Replay(t.Context(), w.LetterOf("4"), replaying); err != nil {
		t.Fatal(err)
	}
	made, err := client.Submit(t.Context(), "rekey/operator", "5", apptest.X509Disable(apptest.HexID(5)))
	if err != nil {
		t.Fatal(err)
	}
	if record, err := client.Await(t.Context(), fleet.Wait{JobID: made.JobID}); err != nil || record.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the operator's job ended as %s, %v", record.Outcome, err)
	}
	if got := w.ResultOf(apptest.Fingerprint(token)); got.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the replayed event's job is %s, want revoked", got.Outcome)
	}
	// One who does not, cannot.
	other := rig.Beside("other")
	other.Cfg.Intake.SigningSeed = secret.Ref{}
	stranger, err := fleet.Dial(t.Context(), other.Cfg, w.NATS, rig.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Submit(t.Context(), "rekey/operator", "6", apptest.X509Disable(apptest.HexID(6))); err != nil {
		t.Fatal(err)
	}
	if letter := w.LetterOf("6"); letter == 0 {
		t.Error("a request without a signature is no dead letter")
	}
}
