package app_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/zap"

	"rekey/internal/app"
	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/notify"
	"rekey/internal/secret"
)

func TestATargetThatIsDownDelaysNothing(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	down, up := newHook(t, nil), newHook(t, nil)
	down.switchTo(http.StatusServiceUnavailable)
	rig.cfg.Notify = []config.Notify{rig.target("down", down), rig.target("up", up)}
	w := rig.start(t)
	const n = 6
	for i := range n {
		w.publish("incident", x509Disable(hexID(i)).String())
	}
	w.results(n)
	up.await(t, n)
	eventually(t, "the failures to be counted", func() bool {
		m := w.metrics()
		return m[`rekey_notifications_total{result="failed",target="down"}`] > 1 && m[`rekey_notifications_pending{target="down"}`] == n &&
			m[`rekey_notifications_pending{target="up"}`] == 0 && m[`rekey_notifications_total{result="delivered",target="up"}`] == n
	})
	down.switchTo(http.StatusOK)
	list := down.await(t, n)
	if len(list) != n {
		t.Errorf("%d notifications came %d times", n, len(list))
	}
	if len(rig.logs.FilterMessage("the target takes no notifications; they wait for it").All()) == 0 {
		t.Error("nothing is logged of the target that was down")
	}
}

func TestARestartKeepsTheNotifications(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	const wait = 3 * time.Second
	hook := newHook(t, func(n int, w http.ResponseWriter) int {
		if n == 1 {
			w.Header().Set("Retry-After", "3")
			return http.StatusTooManyRequests
		}
		return http.StatusOK
	})
	rig.cfg.Notify = []config.Notify{rig.target("hook", hook)}
	w := rig.start(t)
	for i := range 3 {
		w.publish("incident", x509Disable(hexID(i)).String())
	}
	w.results(3)
	eventually(t, "the first request", func() bool { return len(hook.requests()) > 0 })
	w.settled()
	w.stop()
	rig.start(t)
	hook.await(t, 3)
	requests := hook.requests()
	// Those that were under way beside the first one may have been taken.
	var later []told
	for _, one := range requests[1:] {
		if one.id() == requests[0].id() {
			later = append(later, one)
		}
	}
	if len(later) != 1 || later[0].at.Sub(requests[0].at) < wait {
		t.Errorf("the refused notification came again %d times, want once after %s", len(later), wait)
	}
}

func TestNotificationsAreSignedAndHoldTheResult(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	hook := newHook(t, nil)
	target := rig.target("hook", hook)
	old, fresh := signingSecret(), signingSecret()
	target.SigningSecret = secret.Ref{Env: "SIGNING"}
	rig.env["SIGNING"] = fresh + " " + old
	rig.cfg.Notify = []config.Notify{target}
	w := rig.start(t)
	w.publish("incident", x509Disable(hexID(1)).with("reason", "IR-4711").String())
	got := hook.await(t, 1)[0]
	for _, key := range []string{old, fresh} {
		verifier, err := standardwebhooks.NewWebhook(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify([]byte(got.body), got.header); err != nil {
			t.Errorf("the signature is not accepted: %v", err)
		}
	}
	var body struct {
		Type      string
		Timestamp time.Time
		Data      jobs.Record
	}
	if err := json.Unmarshal([]byte(got.body), &body); err != nil {
		t.Fatal(err)
	}
	if body.Type != bus.TypeFinished || body.Data.Outcome != jobs.OutcomeRevoked || body.Data.Reason != "IR-4711" || !body.Timestamp.Equal(body.Data.FinishedAt) {
		t.Errorf("the notification is %s", got.body)
	}
}

func TestFiltersOfNotifications(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	all, some := newHook(t, nil), newHook(t, nil)
	target := rig.target("some", some)
	target.Outcomes, target.Kinds = []jobs.Outcome{jobs.OutcomeRevoked}, []jobs.Kind{jobs.X509Disable, jobs.JWKSRevoke}
	target.Lanes, target.Accounts = []jobs.Lane{jobs.LaneUrgent}, []string{security}
	rig.cfg.Notify = []config.Notify{rig.target("all", all), target}
	w := rig.start(t)
	w.publish("rotation", x509Disable(hexID(1)).String())                           // Another lane.
	w.publish("incident", x509Disable(hexID(2)).with("account", legacy).String())   // Another account.
	w.publish("incident", idpDelete(hexID(3)).String())                             // Another kind.
	w.publish("incident", x509Disable(hexID(4)).with("account", "nobody").String()) // Another outcome.
	w.publish("incident", jwksRevoke(hexID(5)).String())
	all.await(t, len(w.results(4)))
	got := some.await(t, 1)
	eventually(t, "nothing to be pending", func() bool { return w.metrics()[`rekey_notifications_pending{target="some"}`] == 0 })
	if requests := some.requests(); len(requests) != 1 || !strings.Contains(got[0].body, hexID(5)) {
		t.Errorf("%d notifications passed the filter; the first one is %s", len(requests), got[0].body)
	}
}

func TestANotificationThatIsGivenUpCanBeReplayed(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	hook := newHook(t, nil)
	hook.switchTo(http.StatusForbidden)
	rig.cfg.Notify = []config.Notify{rig.target("hook", hook)}
	w := rig.start(t)
	w.publish("incident", x509Disable(hexID(1)).String())
	letter := w.letters(1)[0]
	checkHeaders(t, letter, map[string]string{"Rekey-Target": "hook", "Rekey-Code": notify.CodeRefused})
	if n := len(hook.requests()); n != 3 || letter.Subject != "rekey.v1.dlq.notification" {
		t.Errorf("%d requests were made; the letter is on %s", n, letter.Subject)
	}
	hook.switchTo(http.StatusOK)
	client := w.operator()
	defer client.Close()
	done, err := client.Replay(t.Context(), letter.Sequence, jobs.Operation{At: time.Now(), Action: jobs.ActionReplay, By: "test"})
	if err != nil || done.Target != "hook" {
		t.Fatalf("Replay is %+v, %v", done, err)
	}
	again := hook.await(t, 1)[0]
	if first := hook.requests()[0]; again.id() != first.id() || again.body != first.body {
		t.Errorf("the replayed notification is %s: %s, the first one %s: %s", again.id(), again.body, first.id(), first.body)
	}
	if w.count("REKEY_DLQ") != 0 {
		t.Error("the dead letter is still there")
	}
}

func TestATargetThatIsGoneIsLeftAlone(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	hook := newHook(t, nil)
	hook.switchTo(http.StatusGone)
	rig.cfg.Notify = []config.Notify{rig.target("hook", hook)}
	rig.cfg.Worker.Concurrency = 1
	w := rig.start(t)
	w.publish("incident", x509Disable(hexID(1)).String())
	checkHeaders(t, w.letters(1)[0], map[string]string{"Rekey-Target": "hook", "Rekey-Code": notify.CodeGone})
	w.publish("incident", x509Disable(hexID(2)).String())
	w.results(2)
	eventually(t, "the second one to be pending", func() bool { return w.metrics()[`rekey_notifications_pending{target="hook"}`] == 1 })
	if n := len(hook.requests()); n != 1 {
		t.Errorf("%d requests were made", n)
	}
}

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
}

func stateOf(w *worker, target string) (bus.InboxState, error) {
	client, err := app.Dial(w.t.Context(), w.rig.cfg, w.NATS, w.rig.lookupEnv)
	if err != nil {
		return bus.InboxState{}, err
	}
	defer client.Close()
	return client.Conn.InboxState(w.t.Context(), client.Names, target)
}

func TestNotificationsOfAFleet(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	hook := newHook(t, nil)
	rig.cfg.Notify = []config.Notify{rig.target("hook", hook)}
	first, _ := twoWorkers(t, rig)
	const n = 20
	for i := range n {
		first.publish("incident", x509Disable(hexID(i)).String())
	}
	hook.await(t, n)
	first.settled()
	if got := hook.requests(); len(got) != n {
		t.Errorf("%d notifications came %d times", n, len(got))
	}
}

func TestSecretsOfTargetsDoNotLeak(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	secrets := canaries{"token of the path": "path-" + canary(), "token of the query": "query-" + canary(), "password": "user-" + canary()}
	hooks := map[string]*hook{
		"ok": newHook(t, nil), "refuses": newHook(t, nil), "fails": newHook(t, nil), "gone": newHook(t, nil), "redirects": newHook(t, nil),
	}
	hooks["refuses"].switchTo(http.StatusNotFound)
	hooks["fails"].switchTo(http.StatusBadGateway)
	hooks["gone"].switchTo(http.StatusGone)
	hooks["redirects"].answer = func(_ int, w http.ResponseWriter) int {
		w.Header().Set("Location", hooks["ok"].url+"/"+secrets["token of the path"])
		return http.StatusFound
	}
	hooks["unreachable"] = &hook{url: "http://" + freeAddress(t)}
	hooks["no_tls"] = &hook{url: strings.Replace(hooks["ok"].url, "http://", "https://", 1)}
	hooks["no_url"] = &hook{url: "://"}
	for name, hook := range hooks {
		target := rig.target(name, hook)
		address := strings.Replace(hook.url, "//", "//user:"+secrets["password"]+"@", 1)
		rig.env[target.URL.Env] = address + "/" + secrets["token of the path"] + "?token=" + secrets["token of the query"]
		target.SigningSecret = secret.Ref{Env: "SIGN_" + name}
		rig.env[target.SigningSecret.Env] = signingSecret()
		secrets["signing secret of "+name] = strings.TrimPrefix(rig.env[target.SigningSecret.Env], "whsec_")
		rig.cfg.Notify = append(rig.cfg.Notify, target)
	}
	bad := rig.target("bad_secret", hooks["ok"])
	bad.SigningSecret = secret.Ref{Env: "SIGN_BAD"}
	rig.env["SIGN_BAD"] = "whsec_" + canary()
	secrets["bad signing secret"] = strings.TrimPrefix(rig.env["SIGN_BAD"], "whsec_")
	rig.cfg.Notify = append(rig.cfg.Notify, bad)
	w := rig.start(t)
	w.publish("incident", x509Disable(hexID(1)).String())
	hooks["ok"].await(t, 1)
	w.letters(3) // Of those that refuse, redirect or are gone.
	eventually(t, "all others to fail", func() bool {
		m := w.metrics()
		return !slices.ContainsFunc([]string{"fails", "unreachable", "no_tls", "no_url", "bad_secret"}, func(name string) bool {
			return m[`rekey_notifications_total{result="failed",target="`+name+`"}`] == 0
		})
	})
	if got := hooks["ok"].requests(); len(got) != 1 {
		t.Errorf("a redirect was followed: %d requests", len(got))
	}
	secrets.searchEverything(t, w)
}

func TestReplayForATargetThatIsNotThere(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	w := rig.start(t)
	client := w.operator()
	defer client.Close()
	err := client.Conn.BuryNotice(t.Context(), client.Names, bus.NoticeLetter{Notice: bus.Notice{Key: "1", Count: 1}, Target: "nobody", Code: "gone", Reason: "no"})
	if err != nil {
		t.Fatal(err)
	}
	letter := w.letters(1)[0]
	if _, err := client.Replay(t.Context(), letter.Sequence, jobs.Operation{}); !errors.Is(err, app.ErrNotReplayable) || !errors.Is(err, bus.ErrNoTarget) {
		t.Errorf("Replay is %v", err)
	}
	if err := client.Drop(t.Context(), letter.Sequence, jobs.Operation{At: time.Now(), Action: jobs.ActionDrop, By: "test", Reason: "nobody"}); err != nil {
		t.Error(err)
	}
}

func TestANewTargetBeginsWithTheNextResult(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	w := rig.start(t)
	w.publish("incident", x509Disable(hexID(1)).String())
	w.results(1)
	w.settled()
	w.stop()
	hook := newHook(t, nil)
	rig.cfg.Notify = []config.Notify{rig.target("hook", hook)}
	w = rig.start(t)
	w.publish("incident", x509Disable(hexID(2)).String())
	if got := hook.await(t, 1); len(got) != 1 || !strings.Contains(got[0].body, hexID(2)) {
		t.Errorf("%d notifications came; the first one is %s", len(got), got[0].body)
	}
}

func TestPermissionsSufficeForNotifications(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	rig, _ := standInRig(t)
	hook := newHook(t, nil)
	hook.switchTo(http.StatusForbidden)
	rig.cfg.NATS.URL, rig.cfg.NATS.NKeyFile = g.url, inFile(t, g.seeds["worker"])
	rig.cfg.Notify = []config.Notify{rig.target("hook", hook)}
	w := rig.launch(t)
	w.awaitReady()
	producer, _ := g.dial(t, "producer")
	producer.publish("incident", x509Disable(hexID(1)).String())
	operator := rig.beside("operator")
	operator.cfg.NATS.NKeyFile, operator.cfg.NATS.InboxPrefix = inFile(t, g.seeds["operator"]), "_INBOX_OPERATOR"
	client, err := app.Dial(t.Context(), operator.cfg, "", operator.lookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	eventually(t, "the dead letter", func() bool {
		letters, err := bus.OpenDeadLetters(t.Context(), client.Conn, client.Names)
		if err != nil {
			return false
		}
		list, err := letters.List(t.Context(), 1)
		return err == nil && len(list) == 1
	})
	hook.switchTo(http.StatusOK)
	if _, err := client.Replay(t.Context(), 1, jobs.Operation{At: time.Now(), Action: jobs.ActionReplay, By: "test"}); err != nil {
		t.Fatal(err)
	}
	hook.await(t, 1)
	if list, err := client.Targets(t.Context()); err != nil || len(list) != 1 || !list[0].Served {
		t.Errorf("Targets = %+v, %v", list, err)
	}
}

// The permissions that the doctor knows suffice for a target, here one called x, and a target for which there are none
// holds nothing up.
func TestATargetWithoutPermissionsDelaysNothing(t *testing.T) {
	t.Parallel()
	srv := startAllowing(t, needed())
	rig, _ := standInRig(t)
	rig.env["NATS_PASSWORD"] = "secret-of-worker"
	rig.cfg.NATS.URL, rig.cfg.NATS.User, rig.cfg.NATS.Password = srv.ClientURL(), "worker", secret.Ref{Env: "NATS_PASSWORD"}
	allowed := newHook(t, nil)
	rig.cfg.Notify = []config.Notify{rig.target("forbidden", newHook(t, nil)), rig.target("x", allowed)}
	w := rig.launch(t)
	w.awaitReady()
	w.stranger = dialNATS(t, srv.ClientURL(), nats.UserInfo("all", "secret-of-all"))
	w.publish("incident", x509Disable(hexID(1)).String())
	w.results(1)
	allowed.await(t, 1)
	eventually(t, "the log to name the target", func() bool {
		return len(rig.logs.FilterMessage("the target is not served at the moment").FilterField(zap.String("target", "forbidden")).All()) == 1
	})
}
