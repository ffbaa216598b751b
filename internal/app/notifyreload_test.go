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
	receiver := func(name, key string) string {
		return "  - {name: " + name + ", type: webhook, url_env: " + key + ", retry: {base: 20ms, cap: 100ms}}\n"
	}
	r := startFromFile(t, s.url, "receivers:\n"+receiver("stays", "FIRST")+receiver("goes", "FIRST"), urls)
	w := r.worker
	w.publish("incident", x509Disable(hexID(1)).String())
	eventually(t, "the receiver to fail", func() bool { return w.metrics()[`rekey_notifications_total{receiver="stays",result="failed"}`] > 0 })
	r.write("receivers:\n" + receiver("stays", "SECOND") + receiver("comes", "SECOND"))
	r.reloaded()
	if requests := second.await(t, 1); len(ids(requests)) != 1 {
		t.Errorf("the receiver under its new address got %d", len(requests))
	}
	eventually(t, "the consumer of the removed receiver to go", func() bool {
		state, err := stateOf(w, "goes")
		return err == nil && !state.Known
	})
	eventually(t, "the new receiver to be there", func() bool {
		state, err := stateOf(w, "comes")
		return err == nil && state.Known
	})
	w.publish("incident", x509Disable(hexID(2)).String())
	eventually(t, "both receivers to be told", func() bool {
		m := w.metrics()
		return m[`rekey_notifications_total{receiver="stays",result="delivered"}`] == 2 && m[`rekey_notifications_total{receiver="comes",result="delivered"}`] == 1
	})
	if _, still := w.metrics()[`rekey_notifications_pending{receiver="goes"}`]; still {
		t.Error("the series of the removed receiver are still there")
	}
	r.write("receivers:\n" + receiver("goes", "SECOND"))
	r.reloaded()
	client := w.operator()
	defer client.Close()
	list, err := client.Receivers(t.Context())
	if at := slices.IndexFunc(list, func(s fleet.ReceiverState) bool { return s.Name == "goes" }); err != nil || at < 0 || list[at].Failures != 0 {
		t.Errorf("a receiver under the name of a removed one begins with %+v, %v", list, err)
	}
	for _, stream := range []string{client.Names.Results(), client.Names.Jobs()} {
		cons, err := client.Conn.JetStream().Consumer(t.Context(), stream, bus.ConsumerOfReceiver("stays"))
		if err != nil || cons.CachedInfo().Config.InactiveThreshold == 0 {
			t.Errorf("a place in %s that nobody asks for stays for ever: %v", stream, err)
		}
	}
}

func stateOf(w *worker, receiver string) (bus.InboxState, error) {
	client, err := fleet.Dial(w.t.Context(), w.rig.cfg, w.NATS, w.rig.lookupEnv)
	if err != nil {
		return bus.InboxState{}, err
	}
	defer client.Close()
	return client.Conn.InboxState(w.t.Context(), client.Names, receiver)
}

// A receiver that waits after a failure is asked for by nobody. All the same the place of one that another worker has is
// not taken away.
func TestATargetOfOthersIsNotTakenAway(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	hook := newHook(t, func(_ int, w http.ResponseWriter) int {
		w.Header().Set("Retry-After", "3600")
		return http.StatusTooManyRequests
	})
	const shared = "receivers:\n  - {name: shared, type: webhook, url_env: HOOK, retry: {retry_after_cap: 1h}}\n"
	r := startFromFile(t, s.url, shared, func(r *rig) { r.env["HOOK"] = hook.url })
	other := r.beside("worker-2")
	other.cfg.NATS.URL, other.reload = r.NATS, app.Reload{}
	other.launch(t).awaitReady()
	r.publish("incident", x509Disable(hexID(1)).String())
	eventually(t, "the receiver to fail", func() bool { return len(hook.requests()) > 0 })
	r.publish("incident", x509Disable(hexID(2)).String())
	r.results(2)
	r.write("")
	r.reloaded()
	eventually(t, "the reloaded worker to leave the receiver to the other one", func() bool {
		return r.logged("a receiver is not served here any more; another worker serves it") != nil
	})
	if state, err := stateOf(r.worker, "shared"); err != nil || !state.Known || state.Pending != 2 {
		t.Errorf("the receiver stands at %+v, %v", state, err)
	}
}

func TestTargetsMakesNoBucket(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	w := rig.start(t)
	rig.cfg.Receivers = []config.Receiver{rig.receiver("hook", newHook(t, nil))}
	client := w.operator()
	defer client.Close()
	if err := client.Conn.JetStream().DeleteKeyValue(t.Context(), client.Names.Notify()); err != nil {
		t.Fatal(err)
	}
	if list, err := client.Receivers(t.Context()); err != nil || len(list) != 1 || list[0].Served {
		t.Errorf("Receivers = %+v, %v", list, err)
	}
	if _, err := client.Conn.JetStream().KeyValue(t.Context(), client.Names.Notify()); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("there is a bucket: %v", err)
	}
}
