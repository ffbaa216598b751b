package intake_test

import (
	"crypto/rand"
	"net/http"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/door"
	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/policy"
	"rekey/internal/seal"
	"rekey/internal/secret"
)

// sealKey is a new key of sealed values.
func sealKey(t *testing.T) config.SealKey {
	t.Helper()
	key, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return config.SealKey{Seed: secret.Ref{File: apptest.InFile(t, key.Seed().Reveal())}}
}

// TestOnlyWorkersPublishInTheNameOfADoor: who may publish on the class of a door cannot take the name of a delivery first, and what came
// through the door is replayed under its name, also after the keys were rotated.
func TestOnlyWorkersPublishInTheNameOfADoor(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	key := sealKey(t)
	rig.Cfg.Seal.Keys = []config.SealKey{key}
	rig.Cfg.Policies.List = []policy.Rule{{
		Name: "projects", When: `event.source == "rekey/door/siem"`,
		Jobs: []policy.Job{{Kind: kinds.X509Disable, Account: `"security"`, Params: map[string]policy.Expr{"project_id": "event.data.nothing.there"}}},
	}}
	rig.Env["SIEM"] = rand.Text()
	withDoors(t, rig, config.Door{Name: "siem", Type: door.TypeBearer, Token: secret.Ref{Env: "SIEM"}})
	w := rig.Start(t)
	token := apptest.Canary()
	request := apptest.TokenRevoke(token).With("account", "security")
	w.Publish("incident", request.CloudEvent("rekey/door/siem", "case-1"))
	apptest.CheckHeaders(t, w.Letters(1)[0], map[string]string{"Rekey-Code": string(jobs.RejectIdentity), "Rekey-Event-Source": "nats:REKEY_EVENTS"})
	w.Publish("incident", request.CloudEvent("rekey/client/soar", "case-1"))
	w.Letters(2)
	if _, err := w.Operator().Replay(t.Context(), 1, jobs.Operation{Action: jobs.ActionReplay, By: "jo", Reason: "try"}); err != nil {
		t.Fatal(err)
	}
	w.Letters(2) // The replayed one is another now.
	if n := atlas.Revoked(token); n != 0 {
		t.Fatalf("forged events were done %d times", n)
	}

	headers := map[string]string{"Authorization": "Bearer " + rig.Env["SIEM"], "Idempotency-Key": "case-1"}
	wantStatus(t, post(t, w, "siem", apptest.Projects(apptest.HexID(1)), headers), http.StatusAccepted)
	letter := w.LetterOf("case-1")
	w.Stop()
	rig.Cfg.Seal.Keys = []config.SealKey{sealKey(t), key}
	rig.Cfg.Policies.List[0].Jobs[0].Params["project_id"] = "event.data.projects[0]"
	w = rig.Start(t)
	if _, err := w.Operator().Replay(t.Context(), letter, jobs.Operation{Action: jobs.ActionReplay, By: "jo", Reason: "mended"}); err != nil {
		t.Fatal(err)
	}
	record := w.Results(1)[0].Record
	if record.Events[0].Source != "rekey/door/siem" || record.Events[0].ID != "case-1" || record.Target == "" {
		t.Errorf("got %s", apptest.Encoded(record))
	}
	w.Settled()
	before := w.Count("REKEY_DLQ")
	for _, msg := range w.Messages("REKEY_EVENTS") {
		if mark := msg.Header.Get(event.HeaderMark); mark != "" && msg.Subject == "rekey.v1.event.incident" {
			w.Publish("incident", request.CloudEvent("rekey/door/siem", "case-2"), event.HeaderMark, mark)
		}
	}
	letters := w.Letters(before + 1)
	apptest.CheckHeaders(t, letters[len(letters)-1], map[string]string{"Rekey-Code": string(jobs.RejectIdentity)})
}
