package durability_test

import (
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/config"
)

// TestCallsThatHang: bulk calls of one account that are not answered leave slots to the other lanes
// of another account, and to urgent jobs.
func TestCallsThatHang(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Worker.Concurrency = 8
	rig.Cfg.Atlas.Timeout = time.Minute
	rig.Cfg.Atlas.RateLimits.UrgentShare = config.Default().Atlas.RateLimits.UrgentShare
	release := make(chan struct{})
	atlas.Script("/customerX509", apptest.Reply{Held: release}.Always())
	w := rig.Start(t)
	const list = 40
	for n := range list {
		w.Publish("rotation", apptest.X509Disable(apptest.HexID(n)).With("lane", "bulk").String())
	}
	// Of the eight slots two are kept for urgent jobs, and of the others one for other accounts.
	const most = 5
	atlas.Await(t, "/customerX509", most)
	started := func(what string, idp int, class, account, lane string) {
		t.Helper()
		sent := time.Now()
		w.Publish(class, apptest.JwksRevoke(apptest.HexID(idp)).With("account", account).With("lane", lane).String())
		if waited := atlas.Await(t, apptest.HexID(idp), 1)[0].At.Sub(sent); waited > 5*time.Second {
			t.Errorf("%s called after %s", what, waited)
		}
	}
	started("an urgent job of another account", 1000, "incident", apptest.Legacy, "urgent")
	started("a normal job of another account", 1001, "rotation", apptest.Legacy, "normal")
	started("an urgent job of the same account", 1002, "incident", apptest.Security, "urgent")
	if got := len(atlas.Requests("/customerX509")); got != most {
		t.Errorf("%d calls of one account hang, want %d", got, most)
	}
	close(release)
	w.Results(list + 3)
}
