package app_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/app"
	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/fleet"
)

func TestReloadOfNotifications(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	first, second := newHook(t, nil), newHook(t, nil)
	first.switchTo(http.StatusServiceUnavailable)
	urls := func(r *rig) { r.env["FIRST"], r.env["SECOND"] = first.url, second.url }
	target := func(name, key string) string {
		return "  - {name: " + name + ", type: webhook, url_env: " + key + ", retry: {base: 20ms, cap: 100ms}}\n"
	}
	r := startFromFile(t, s.url, "notify:\n"+target("stays", "FIRST")+target("goes", "FIRST"), urls)
	w := r.worker
	w.publish("incident", x509Disable(hexID(1)).String())
	eventually(t, "the target to fail", func() bool { return w.metrics()[`rekey_notifications_total{result="failed",target="stays"}`] > 0 })
	r.write("notify:\n" + target("stays", "SECOND") + target("comes", "SECOND"))
	r.reloaded()
	if requests := second.await(t, 1); len(ids(requests)) != 1 {
		t.Errorf("the target under its new address got %d", len(requests))
	}
	eventually(t, "the consumer of the removed target to go", func() bool {
		state, err := stateOf(w, "goes")
		return err == nil && !state.Known
	})
	eventually(t, "the new target to be there", func() bool {
		state, err := stateOf(w, "comes")
		return err == nil && state.Known
	})
	w.publish("incident", x509Disable(hexID(2)).String())
	eventually(t, "both targets to be told", func() bool {
		m := w.metrics()
		return m[`rekey_notifications_total{result="delivered",target="stays"}`] == 2 && m[`rekey_notifications_total{result="delivered",target="comes"}`] == 1
	})
	if _, still := w.metrics()[`rekey_notifications_pending{target="goes"}`]; still {
		t.Error("the series of the removed target are still there")
	}
	r.write("notify:\n" + target("goes", "SECOND"))
	r.reloaded()
	client := w.operator()
	defer client.Close()
	list, err := client.Targets(t.Context())
	if at := slices.IndexFunc(list, func(s fleet.TargetStanding) bool { return s.Name == "goes" }); err != nil || at < 0 || list[at].Failures != 0 {
		t.Errorf("a target under the name of a removed one begins with %+v, %v", list, err)
	}
	for _, stream := range []string{client.Names.Results(), client.Names.Jobs()} {
		cons, err := client.Conn.JetStream().Consumer(t.Context(), stream, bus.ConsumerOfTarget("stays"))
		if err != nil || cons.CachedInfo().Config.InactiveThreshold == 0 {
			t.Errorf("a place in %s that nobody asks for stays for ever: %v", stream, err)
		}
	}
}

func stateOf(w *worker, target string) (bus.InboxState, error) {
	client, err := fleet.Dial(w.t.Context(), w.rig.cfg, w.NATS, w.rig.lookupEnv)
	if err != nil {
		return bus.InboxState{}, err
	}
	defer client.Close()
	return client.Conn.InboxState(w.t.Context(), client.Names, target)
}

// A target that waits after a failure is asked for by nobody. All the same the place of one that another worker has is
// not taken away.
func TestATargetOfOthersIsNotTakenAway(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	hook := newHook(t, func(_ int, w http.ResponseWriter) int {
		w.Header().Set("Retry-After", "3600")
		return http.StatusTooManyRequests
	})
	const shared = "notify:\n  - {name: shared, type: webhook, url_env: HOOK, retry: {retry_after_cap: 1h}}\n"
	r := startFromFile(t, s.url, shared, func(r *rig) { r.env["HOOK"] = hook.url })
	other := r.beside("worker-2")
	other.cfg.NATS.URL, other.reload = r.NATS, app.Reload{}
	other.launch(t).awaitReady()
	r.publish("incident", x509Disable(hexID(1)).String())
	eventually(t, "the target to fail", func() bool { return len(hook.requests()) > 0 })
	r.publish("incident", x509Disable(hexID(2)).String())
	r.results(2)
	r.write("")
	r.reloaded()
	eventually(t, "the reloaded worker to leave the target to the other one", func() bool {
		return r.logged("a target of notifications is not served here any more; another worker serves it") != nil
	})
	if state, err := stateOf(r.worker, "shared"); err != nil || !state.Known || state.Pending != 2 {
		t.Errorf("the target stands at %+v, %v", state, err)
	}
}

func TestTargetsMakesNoBucket(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	w := rig.start(t)
	rig.cfg.Notify = []config.Notify{rig.target("hook", newHook(t, nil))}
	client := w.operator()
	defer client.Close()
	if err := client.Conn.JetStream().DeleteKeyValue(t.Context(), client.Names.Notify()); err != nil {
		t.Fatal(err)
	}
	if list, err := client.Targets(t.Context()); err != nil || len(list) != 1 || list[0].Served {
		t.Errorf("Targets = %+v, %v", list, err)
	}
	if _, err := client.Conn.JetStream().KeyValue(t.Context(), client.Names.Notify()); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("there is a bucket: %v", err)
	}
}
