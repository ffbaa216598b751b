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

// TestSearchOutlivesAKill: a worker that dies while it looks for a leaked secret is followed by one that goes on where it was; one
// that dies in the call by one that deletes the same secret without looking again. The secret is left nowhere.
func TestSearchOutlivesAKill(t *testing.T) {
	t.Parallel()
	const accounts = "/orgs/" + apptest.Org + "/serviceAccounts"
	secretID := apptest.HexID(5)
	page := func(n int) string { return fmt.Sprintf("%s?itemsPerPage=100&pageNum=%d", accounts, n) }
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
			other := fmt.Sprintf(`{"clientId":"mdb_sa_id_%s","secrets":[{"id":%q,"maskedSecretValue":"mdb_sa_sk_****0000"}]}`, apptest.HexID(7), apptest.HexID(8))
			hit := fmt.Sprintf(`{"clientId":"mdb_sa_id_%s","secrets":[{"id":%q,"maskedSecretValue":"mdb_sa_sk_****%s"}]}`,
				apptest.HexID(6), secretID, canary[len(canary)-4:])
			atlas.Script(tt.held, apptest.Holding(make(chan struct{})))
			atlas.Script(page(1), apptest.JSONReply(200, `{"results":[`+other+`],"totalCount":2}`).Always())
			atlas.Script(page(2), apptest.JSONReply(200, `{"results":[`+hit+`],"totalCount":2}`).Always())
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
