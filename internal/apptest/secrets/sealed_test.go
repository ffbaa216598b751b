package secrets_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/seal"
	"rekey/internal/secret"
)

// newSeed makes a key and returns it with the place where its seed is.
func newSeed(t *testing.T) (*seal.Key, config.SealKey) {
	t.Helper()
	key, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return key, config.SealKey{Seed: secret.Ref{File: apptest.InFile(t, key.Seed().Reveal())}}
}

func TestSealedTokenIsRevoked(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	w := rig.Start(t)
	token := "canary" + rand.Text()
	w.Publish("incident", apptest.SealedRevoke(apptest.SealTo(t, rig.SealingKey(t), token)).String())
	first := w.Results(1)[0].Record
	if first.Outcome != jobs.OutcomeRevoked || first.Params["token"] != apptest.Fingerprint(token) || first.Target != apptest.Fingerprint(token) {
		t.Errorf("the record is %s, want revoked and the token's fingerprint", apptest.Encoded(first))
	}
	// Where a sealed one is expected, a sealed one may also be given as "token", as policies put it there.
	w.Publish("incident", apptest.TokenRevoke(apptest.SealTo(t, rig.SealingKey(t), token)).String())
	w.Results(2)
	if got := atlas.Revoked(token); got != 2 {
		t.Errorf("the API was asked %d times to revoke the token, want twice", got)
	}
	apptest.Canaries{"token": token}.SearchEverything(t, w)
	for _, stream := range []string{"REKEY_EVENTS", "REKEY_JOBS"} {
		for _, msg := range w.Messages(stream) {
			apptest.Canaries{"token": token}.Search(t, stream, string(msg.Data))
		}
	}
	for _, msg := range w.Messages("REKEY_RESULTS") {
		if strings.Contains(string(msg.Data), "rekey-seal") {
			t.Errorf("a result holds the sealed form, which only the ledger needs: %s", msg.Data)
		}
	}
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	old, oldSeed := newSeed(t)
	fresh, freshSeed := newSeed(t)
	rig.Cfg.Seal.Keys = []config.SealKey{freshSeed, oldSeed}
	w := rig.Start(t)
	tokens := map[string]*seal.Key{"canary" + rand.Text(): old, "canary" + rand.Text(): fresh}
	for token, key := range tokens {
		w.Publish("incident", apptest.SealedRevoke(apptest.SealTo(t, key.ID(), token)).String())
	}
	w.Results(2)
	for token, key := range tokens {
		if atlas.Revoked(token) != 1 {
			t.Errorf("the token that is sealed to %s is not revoked", key.ID())
		}
	}
	if got := rig.SealingKey(t); got != fresh.ID() {
		t.Errorf("seals to %s, want the first key %s", got, fresh.ID())
	}
}

func TestUnknownKeyIsADeadLetterThatCanBeReplayed(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	key, seed := newSeed(t)
	_, otherSeed := newSeed(t)
	rig.Cfg.Seal.Keys = []config.SealKey{otherSeed}
	w := rig.Start(t)
	token := "canary" + rand.Text()
	sealed := apptest.SealTo(t, key.ID(), token)
	w.Publish("incident", apptest.SealedRevoke(sealed).String())
	w.Letters(1)
	w.Publish("incident", apptest.SealedRevoke(sealed[:len(sealed)-3]).String())
	letters := w.Letters(2)
	reason := letters[0].Header.Get("Rekey-Reason")
	for _, want := range []string{"params.token_sealed", "sealed to key " + key.ID(), "does not have"} {
		if !strings.Contains(reason, want) {
			t.Errorf("the reason is %q, want %q in it", reason, want)
		}
	}
	if !strings.Contains(string(letters[0].Data), sealed) {
		t.Errorf("the dead letter is %s, want the sealed value in it", letters[0].Data)
	}
	w.Stop()
	rig.Cfg.Seal.Keys = append(rig.Cfg.Seal.Keys, seed)
	w = rig.Start(t)
	client := w.Operator()
	defer client.Close()
	if _, err := client.Replay(t.Context(), letters[0].Sequence, jobs.Operation{Action: jobs.ActionReplay, By: "me"}); err != nil {
		t.Fatal(err)
	}
	if got := w.Results(1)[0].Record; got.Outcome != jobs.OutcomeRevoked || atlas.Revoked(token) != 1 {
		t.Errorf("with the key, the job is %s", apptest.Encoded(got))
	}
}

// TestFleetSharesItsKey: what one worker seals another opens, with nothing configured.
func TestFleetSharesItsKey(t *testing.T) {
	t.Parallel()
	srv := apptest.StartNATS(t, nil)
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.NATS.URL = srv.ClientURL()
	first := rig.Launch(t)
	first.AwaitReady()
	first.Connected(t)
	atlas.Script(apptest.RevokePath, apptest.Problem(403, "FORBIDDEN"))
	token := "canary" + rand.Text()
	first.Publish("incident", apptest.TokenRevoke(token).String())
	refused := first.Results(1)[0].Record
	if refused.Outcome != jobs.OutcomeRefused {
		t.Fatalf("the first job is %s, want refused", refused.Outcome)
	}
	first.Stop()
	second := rig.Beside("worker-2").Launch(t)
	second.AwaitReady()
	second.Connected(t)
	client := second.Operator()
	defer client.Close()
	if _, err := client.Retry(t.Context(), refused.JobID, jobs.Operation{Action: jobs.ActionRetry, By: "me"}); err != nil {
		t.Fatal(err)
	}
	if got := second.Results(2)[1].Record; got.Outcome != jobs.OutcomeRevoked || atlas.Revoked(token) != 2 {
		t.Errorf("the other worker made it %s after %d calls, want revoked after 2", got.Outcome, atlas.Revoked(token))
	}
}

func TestBadKeyStopsTheStart(t *testing.T) {
	t.Parallel()
	for name, ref := range map[string]secret.Ref{
		"a missing file": {File: "/nowhere/seal.key"},
		"no seed":        {File: apptest.InFile(t, "SUcanary")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rig, _ := apptest.StandInRig(t)
			rig.Cfg.Seal.Keys = []config.SealKey{{Seed: ref}}
			w := rig.Launch(t)
			err := <-w.Ended
			w.Ended <- nil // For the cleanup.
			if err == nil || !strings.Contains(err.Error(), "seal.keys[0]") || !strings.Contains(err.Error(), ref.File) || strings.Contains(err.Error(), "canary") {
				t.Errorf("the worker ended with %v, want an error that names seal.keys[0] and the file, and nothing that is in it", err)
			}
		})
	}
}

func TestSubmitSealsAndTellsTheJob(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	_, seed := newSeed(t)
	rig.Cfg.Seal.Keys = []config.SealKey{seed}
	w := rig.Start(t)
	client := w.Operator()
	defer client.Close()
	token := "canary" + rand.Text()
	plain, err := client.Submit(t.Context(), "test", "1", apptest.TokenRevoke(token))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := client.Submit(t.Context(), "test", "2", apptest.SealedRevoke(apptest.SealTo(t, rig.SealingKey(t), token)))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{plain.JobID, sealed.JobID} {
		record, err := client.Await(t.Context(), fleet.Wait{JobID: id})
		if err != nil || record.Outcome != jobs.OutcomeRevoked {
			t.Errorf("job %q is %s, %v, want revoked", id, record.Outcome, err)
		}
	}
	// A stranger's configuration says nothing of keys.
	other := rig.Beside("other")
	other.Cfg.Seal.Keys = nil
	stranger, err := fleet.Dial(t.Context(), other.Cfg, w.NATS, rig.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	made, err := stranger.Submit(t.Context(), "test", "3", apptest.SealedRevoke(apptest.SealTo(t, rig.SealingKey(t), token)))
	if err != nil || made.JobID == "" {
		t.Errorf("the job's id is %q, %v, want one: it does not depend on what is sealed", made.JobID, err)
	}
	record, err := stranger.Await(t.Context(), fleet.Wait{JobID: made.JobID, Stored: true})
	if err != nil || record.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the stranger's job is %s, %v, want revoked", record.Outcome, err)
	}
	for _, msg := range w.Messages("REKEY_EVENTS") {
		apptest.Canaries{"token": token}.Search(t, "an event", string(msg.Data))
	}
}
