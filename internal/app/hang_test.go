package app_test

import (
	"testing"
	"time"

	"rekey/internal/config"
)

// TestCallsThatHang: bulk calls of one account that are not answered leave slots to the other lanes
// of another account, and to urgent jobs.
func TestCallsThatHang(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Worker.Concurrency = 8
	rig.cfg.Atlas.Timeout = time.Minute
	rig.cfg.Atlas.RateLimits.UrgentShare = config.Default().Atlas.RateLimits.UrgentShare
	release := make(chan struct{})
	atlas.script("/customerX509", reply{held: release}.always())
	w := rig.start(t)
	const list = 40
	for n := range list {
		w.publish("rotation", x509Disable(hexID(n)).with("lane", "bulk").String())
	}
	// Of the eight slots two are kept for urgent jobs, and of the others one for other accounts.
	const most = 5
	atlas.await(t, "/customerX509", most)
	started := func(what string, idp int, class, account, lane string) {
		t.Helper()
		sent := time.Now()
		w.publish(class, jwksRevoke(hexID(idp)).with("account", account).with("lane", lane).String())
		if waited := atlas.await(t, hexID(idp), 1)[0].at.Sub(sent); waited > 5*time.Second {
			t.Errorf("%s called after %s", what, waited)
		}
	}
	started("an urgent job of another account", 1000, "incident", legacy, "urgent")
	started("a normal job of another account", 1001, "rotation", legacy, "normal")
	started("an urgent job of the same account", 1002, "incident", security, "urgent")
	if got := len(atlas.requests("/customerX509")); got != most {
		t.Errorf("%d calls of one account hang, want %d", got, most)
	}
	close(release)
	w.results(list + 3)
}
