package durability_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// page is a page of the list of service accounts.
func page(n int) string {
	return fmt.Sprintf("/orgs/%s/serviceAccounts?itemsPerPage=100&pageNum=%d", apptest.Org, n)
}

// scriptPages puts the account of a secret, with the ids 5 and 6, on the second page.
func scriptPages(atlas *apptest.StandIn, leaked string) {
	account := func(client, secret, tail string) apptest.Reply {
		return apptest.JSONReply(200, fmt.Sprintf(
			`{"results":[{"clientId":"mdb_sa_id_%s","secrets":[{"id":%q,"maskedSecretValue":"mdb_sa_sk_****%s"}]}],"totalCount":2}`, client, secret, tail)).Always()
	}
	atlas.Script(page(1), account(apptest.HexID(7), apptest.HexID(8), "0000"))
	atlas.Script(page(2), account(apptest.HexID(6), apptest.HexID(5), leaked[len(leaked)-4:]))
}

// TestSearchWaitsForTheRateLimit: a refusal in the middle spends no attempt, and what was read is not read again.
func TestSearchWaitsForTheRateLimit(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	secret := "mdb_sa_sk_" + apptest.Canary()
	atlas.Script(page(2), apptest.RetryAfter(429, "1"))
	scriptPages(atlas, secret)
	w := rig.Start(t)
	w.Publish("incident", apptest.NewRequest(kinds.ServiceAccountSecretDelete, map[string]any{"org_id": apptest.Org, "secret": secret}).String())
	r := w.Results(1)[0].Record
	if r.Outcome != jobs.OutcomeRevoked || r.AttemptCount != 2 || r.AttemptsSpent != 1 || r.Attempts[0].Reason != jobs.ReasonRateLimited {
		t.Errorf("the record is %s", apptest.Encoded(r))
	}
	if first, second := len(atlas.Authenticated(page(1))), len(atlas.Authenticated(page(2))); first != 1 || second != 2 {
		t.Errorf("pages were read %d and %d times, want 1 and 2", first, second)
	}
}

// TestSearchOutlivesAKill: a worker that dies while it looks for a leaked secret is followed by one that goes on where it was; one
// that dies in the call by one that deletes the same secret without looking again. The secret is left nowhere.
func TestSearchOutlivesAKill(t *testing.T) {
	t.Parallel()
	secretID := apptest.HexID(5)
	for _, tt := range []struct {
		name, held  string // The request at which the worker dies.
		firstPages  int    // How often the first page is read.
		secondPages int
		deletes     int
		wantEffect  int // Attempts that may have taken effect before the last one.
	}{
		{name: "while it looks", held: page(2), firstPages: 1, secondPages: 2, deletes: 1},
		{name: "in the call", held: "/secrets/" + secretID, firstPages: 1, secondPages: 1, deletes: 2, wantEffect: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rig, atlas := apptest.StandInRig(t)
			rig.Cfg.Atlas.Timeout = apptest.CrashTimeout
			canary := "mdb_sa_sk_" + apptest.Canary()
			atlas.Script(tt.held, apptest.Holding(make(chan struct{})))
			scriptPages(atlas, canary)
			process, url := rig.StartToKill(t)
			victim := apptest.DialNATS(t, url)
			victim.Publish("incident", apptest.NewRequest(kinds.ServiceAccountSecretDelete, map[string]any{
				"org_id": apptest.Org, "secret": canary,
			}).CloudEvent("urn:soar", "IR-1"))
			atlas.Await(t, tt.held, 1)
			process.Kill()
			victim.Nc.Close()
			w := rig.Beside("worker-2").Start(t)
			r := w.Results(1)[0].Record
			if r.Outcome != jobs.OutcomeRevoked || r.Attempts[0].Reason != jobs.ReasonInterrupted || r.AttemptsMaybeEffective != tt.wantEffect+1 ||
				r.Search.Only()["secret_id"] != secretID || r.Target != "org/"+apptest.Org+"/secret/"+apptest.Fingerprint(canary) {
				t.Errorf("the record is %s", apptest.Encoded(r))
			}
			deletes := 0
			for _, call := range atlas.Authenticated("/secrets/") {
				if call.Method == http.MethodDelete && strings.HasSuffix(call.URI, "mdb_sa_id_"+apptest.HexID(6)+"/secrets/"+secretID) {
					deletes++
				}
			}
			if first, second := len(atlas.Authenticated(page(1))), len(atlas.Authenticated(page(2))); first != tt.firstPages || second != tt.secondPages || deletes != tt.deletes {
				t.Errorf("pages were read %d and %d times, and %d times deleted; want %d, %d, %d", first, second, deletes, tt.firstPages, tt.secondPages, tt.deletes)
			}
			w.Settled()
			apptest.Canaries{"secret": canary}.SearchEverything(t, w)
		})
	}
}
