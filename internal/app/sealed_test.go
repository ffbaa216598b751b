package app_test

import (
	"crypto/rand"
	"net/url"
	"strings"
	"testing"

	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/seal"
	"rekey/internal/secret"
	"rekey/internal/wire"
)

// sealedRevoke asks for the revocation of a sealed token.
func sealedRevoke(sealed string) request {
	return newRequest(jobs.TokenRevoke, map[string]any{"token_sealed": sealed})
}

// sealTo seals as a producer does, who has the public key and nothing else.
func sealTo(t *testing.T, key, token string) string {
	t.Helper()
	sealed, err := seal.Seal(key, secret.New(token))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// sealingKey is what the worker's secrets are sealed to.
func (r *rig) sealingKey(t *testing.T) string {
	t.Helper()
	key, err := wire.SealingKey(r.cfg, r.lookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newSeed makes a key and returns it with the place where its seed is.
func newSeed(t *testing.T) (*seal.Key, config.SealKey) {
	t.Helper()
	key, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return key, config.SealKey{Seed: secret.Ref{File: inFile(t, key.Seed().Reveal())}}
}

// revoked reports whether the API was asked to revoke the token.
func (s *standIn) revoked(token string) int {
	n := 0
	for _, c := range s.requests(revokePath) {
		if strings.Contains(c.body, "token="+url.QueryEscape(token)+"&") {
			n++
		}
	}
	return n
}

func TestSealedTokenIsRevoked(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	w := rig.start(t)
	token := "canary" + rand.Text()
	w.publish("incident", sealedRevoke(sealTo(t, rig.sealingKey(t), token)).String())
	first := w.results(1)[0].record
	if first.Outcome != jobs.OutcomeRevoked || first.Params["token"] != fingerprint(token) || first.Target != fingerprint(token) {
		t.Errorf("the record is %s, want revoked and the token's fingerprint", encoded(first))
	}
	// Where a sealed one is expected, a sealed one may also stand as "token", as policies put it there.
	w.publish("incident", tokenRevoke(sealTo(t, rig.sealingKey(t), token)).String())
	w.results(2)
	if got := atlas.revoked(token); got != 2 {
		t.Errorf("the API was asked %d times to revoke the token, want twice", got)
	}
	canaries{"token": token}.searchEverything(t, w)
	for _, stream := range []string{"REKEY_EVENTS", "REKEY_JOBS"} {
		for _, msg := range w.messages(stream) {
			canaries{"token": token}.search(t, stream, string(msg.Data))
		}
	}
	for _, msg := range w.messages("REKEY_RESULTS") {
		if strings.Contains(string(msg.Data), "rekey-seal") {
			t.Errorf("a result holds the sealed form, which only the ledger needs: %s", msg.Data)
		}
	}
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	old, oldSeed := newSeed(t)
	fresh, freshSeed := newSeed(t)
	rig.cfg.Seal.Keys = []config.SealKey{freshSeed, oldSeed}
	w := rig.start(t)
	tokens := map[string]*seal.Key{"canary" + rand.Text(): old, "canary" + rand.Text(): fresh}
	for token, key := range tokens {
		w.publish("incident", sealedRevoke(sealTo(t, key.ID(), token)).String())
	}
	w.results(2)
	for token, key := range tokens {
		if atlas.revoked(token) != 1 {
			t.Errorf("the token that is sealed to %s is not revoked", key.ID())
		}
	}
	if got := rig.sealingKey(t); got != fresh.ID() {
		t.Errorf("seals to %s, want the first key %s", got, fresh.ID())
	}
}

func TestUnknownKeyIsADeadLetterThatCanBeReplayed(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	key, seed := newSeed(t)
	_, otherSeed := newSeed(t)
	rig.cfg.Seal.Keys = []config.SealKey{otherSeed}
	w := rig.start(t)
	token := "canary" + rand.Text()
	sealed := sealTo(t, key.ID(), token)
	w.publish("incident", sealedRevoke(sealed).String())
	w.letters(1)
	w.publish("incident", sealedRevoke(sealed[:len(sealed)-3]).String())
	letters := w.letters(2)
	reason := letters[0].Header.Get("Rekey-Reason")
	for _, want := range []string{"params.token_sealed", "sealed to key " + key.ID(), "does not have"} {
		if !strings.Contains(reason, want) {
			t.Errorf("the reason is %q, want %q in it", reason, want)
		}
	}
	if !strings.Contains(string(letters[0].Data), sealed) {
		t.Errorf("the dead letter is %s, want the sealed value in it", letters[0].Data)
	}
	w.stop()
	rig.cfg.Seal.Keys = append(rig.cfg.Seal.Keys, seed)
	w = rig.start(t)
	client := w.operator()
	defer client.Close()
	if _, err := client.Replay(t.Context(), letters[0].Sequence, jobs.Operation{Action: jobs.ActionReplay, By: "me"}); err != nil {
		t.Fatal(err)
	}
	if got := w.results(1)[0].record; got.Outcome != jobs.OutcomeRevoked || atlas.revoked(token) != 1 {
		t.Errorf("with the key, the job is %s", encoded(got))
	}
}

// TestFleetSharesItsKey: what one worker seals another opens, with nothing configured.
func TestFleetSharesItsKey(t *testing.T) {
	t.Parallel()
	srv := startNATS(t, nil)
	rig, atlas := standInRig(t)
	rig.cfg.NATS.URL = srv.ClientURL()
	first := rig.launch(t)
	first.awaitReady()
	first.connected(t)
	atlas.script(revokePath, problem(403, "FORBIDDEN"))
	token := "canary" + rand.Text()
	first.publish("incident", tokenRevoke(token).String())
	refused := first.results(1)[0].record
	if refused.Outcome != jobs.OutcomeRefused {
		t.Fatalf("the first job is %s, want refused", refused.Outcome)
	}
	first.stop()
	second := rig.beside("worker-2").launch(t)
	second.awaitReady()
	second.connected(t)
	client := second.operator()
	defer client.Close()
	if _, err := client.Retry(t.Context(), refused.JobID, jobs.Operation{Action: jobs.ActionRetry, By: "me"}); err != nil {
		t.Fatal(err)
	}
	if got := second.results(2)[1].record; got.Outcome != jobs.OutcomeRevoked || atlas.revoked(token) != 2 {
		t.Errorf("the other worker made it %s after %d calls, want revoked after 2", got.Outcome, atlas.revoked(token))
	}
}

func TestBadKeyStopsTheStart(t *testing.T) {
	t.Parallel()
	for name, ref := range map[string]secret.Ref{
		"a missing file": {File: "/nowhere/seal.key"},
		"no seed":        {File: inFile(t, "SUcanary")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rig, _ := standInRig(t)
			rig.cfg.Seal.Keys = []config.SealKey{{Seed: ref}}
			w := rig.launch(t)
			err := <-w.ended
			w.ended <- nil // For the cleanup.
			if err == nil || !strings.Contains(err.Error(), "seal.keys[0]") || !strings.Contains(err.Error(), ref.File) || strings.Contains(err.Error(), "canary") {
				t.Errorf("the worker ended with %v, want an error that names seal.keys[0] and the file, and nothing that is in it", err)
			}
		})
	}
}

func TestSubmitSealsAndTellsTheJob(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	_, seed := newSeed(t)
	rig.cfg.Seal.Keys = []config.SealKey{seed}
	w := rig.start(t)
	client := w.operator()
	defer client.Close()
	token := "canary" + rand.Text()
	plain, err := client.Submit(t.Context(), "test", "1", tokenRevoke(token))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := client.Submit(t.Context(), "test", "2", sealedRevoke(sealTo(t, rig.sealingKey(t), token)))
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
	other := rig.beside("nobody")
	other.cfg.Seal.Keys = nil
	stranger, err := fleet.Dial(t.Context(), other.cfg, w.NATS, rig.lookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	made, err := stranger.Submit(t.Context(), "test", "3", sealedRevoke(sealTo(t, rig.sealingKey(t), token)))
	if err != nil || made.JobID == "" {
		t.Errorf("the job's id is %q, %v, want one: it does not depend on what is sealed", made.JobID, err)
	}
	record, err := stranger.Await(t.Context(), fleet.Wait{JobID: made.JobID, Stored: true})
	if err != nil || record.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the stranger's job is %s, %v, want revoked", record.Outcome, err)
	}
	for _, msg := range w.messages("REKEY_EVENTS") {
		canaries{"token": token}.search(t, "an event", string(msg.Data))
	}
}
