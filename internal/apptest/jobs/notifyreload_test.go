package jobs_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/app"
	"rekey/internal/apptest"
	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/layout"
)

func TestReloadOfNotifications(t *testing.T) {
	t.Parallel()
	s := apptest.NewStandIn(t)
	first, second := apptest.NewHook(t, nil), apptest.NewHook(t, nil)
	first.SwitchTo(http.StatusServiceUnavailable)
	urls := func(r *apptest.Rig) { r.Env["FIRST"], r.Env["SECOND"] = first.URL, second.URL }
	receiver := func(name, key string) string {
		return "  - {name: " + name + ", type: webhook, url_env: " + key + ", retry: {base: 20ms, cap: 100ms}}\n"
	}
	r := apptest.StartFromFile(t, s.URL, "receivers:\n"+receiver("stays", "FIRST")+receiver("goes", "FIRST"), urls)
	w := r.Worker
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	apptest.Eventually(t, "the receiver to fail", func() bool { return w.Metrics()[`rekey_notifications_total{receiver="stays",result="failed"}`] > 0 })
	r.Write("receivers:\n" + receiver("stays", "SECOND") + receiver("comes", "SECOND"))
	r.Reloaded()
	if requests := second.Await(t, 1); len(apptest.IDs(requests)) != 1 {
		t.Errorf("the receiver under its new address got %d", len(requests))
	}
	apptest.Eventually(t, "the consumer of the removed receiver to go", func() bool {
		state, err := stateOf(w, "goes")
		return err == nil && !state.Known
	})
	apptest.Eventually(t, "the new receiver to be there", func() bool {
		state, err := stateOf(w, "comes")
		return err == nil && state.Known
	})
	w.Publish("incident", apptest.X509Disable(apptest.HexID(2)).String())
	apptest.Eventually(t, "both receivers to get it", func() bool {
		m := w.Metrics()
		return m[`rekey_notifications_total{receiver="stays",result="delivered"}`] == 2 && m[`rekey_notifications_total{receiver="comes",result="delivered"}`] == 1
	})
	if _, still := w.Metrics()[`rekey_notifications_pending{receiver="goes"}`]; still {
		t.Error("the series of the removed receiver are still there")
	}
	r.Write("receivers:\n" + receiver("goes", "SECOND"))
	r.Reloaded()
	client := w.Operator()
	defer client.Close()
	list, err := client.Receivers(t.Context())
	if at := slices.IndexFunc(list, func(s fleet.ReceiverState) bool { return s.Name == "goes" }); err != nil || at < 0 || list[at].Failures != 0 {
		t.Errorf("a receiver under the name of a removed one begins with %+v, %v", list, err)
	}
	conn := w.Bus()
	for _, stream := range []string{conn.Names().Results(), conn.Names().Jobs()} {
		cons, err := conn.JetStream().Consumer(t.Context(), stream, layout.ConsumerOfReceiver("stays"))
		if err != nil || cons.CachedInfo().Config.InactiveThreshold == 0 {
			t.Errorf("a place in %s that no worker asks for stays without end: %v", stream, err)
		}
	}
}

func stateOf(w *apptest.Worker, receiver string) (bus.SubscriptionState, error) {
	conn := w.Bus()
	defer conn.Close()
	return conn.SubscriptionState(w.T.Context(), receiver)
}

// A receiver that waits after a failure is asked for by no worker. All the same the place of one that another worker has is
// not taken away.
func TestAReceiverOfOthersIsNotTakenAway(t *testing.T) {
	t.Parallel()
	s := apptest.NewStandIn(t)
	hook := apptest.NewHook(t, func(_ int, w http.ResponseWriter) int {
		w.Header().Set("Retry-After", "3600")
		return http.StatusTooManyRequests
	})
	const shared = "receivers:\n  - {name: shared, type: webhook, url_env: HOOK, retry: {retry_after_cap: 1h}}\n"
	r := apptest.StartFromFile(t, s.URL, shared, func(r *apptest.Rig) { r.Env["HOOK"] = hook.URL })
	other := r.Beside("worker-2")
	other.Cfg.NATS.URL, other.Reload = r.NATS, app.Reload{}
	other.Launch(t).AwaitReady()
	r.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	apptest.Eventually(t, "the receiver to fail", func() bool { return len(hook.Requests()) > 0 })
	r.Publish("incident", apptest.X509Disable(apptest.HexID(2)).String())
	r.Results(2)
	r.Write("")
	r.Reloaded()
	apptest.Eventually(t, "the reloaded worker to leave the receiver to the other one", func() bool {
		return r.Logged("a receiver is not served here any more; another worker serves it") != nil
	})
	if state, err := stateOf(r.Worker, "shared"); err != nil || !state.Known || state.Pending != 2 {
		t.Errorf("the state of the receiver is %+v, %v", state, err)
	}
}

func TestReceiversMakesNoBucket(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	rig.Cfg.Receivers = []config.Receiver{rig.Receiver("hook", apptest.NewHook(t, nil))}
	client := w.Operator()
	defer client.Close()
	conn := w.Bus()
	if err := conn.JetStream().DeleteKeyValue(t.Context(), conn.Names().Notify()); err != nil {
		t.Fatal(err)
	}
	if list, err := client.Receivers(t.Context()); err != nil || len(list) != 1 || list[0].Served {
		t.Errorf("Receivers = %+v, %v", list, err)
	}
	if _, err := conn.JetStream().KeyValue(t.Context(), conn.Names().Notify()); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("there is a bucket: %v", err)
	}
}
