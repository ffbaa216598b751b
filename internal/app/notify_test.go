package app_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/notify"
	"rekey/internal/secret"
)

func TestATargetThatIsDownDelaysNothing(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	down, up := newHook(t, nil), newHook(t, nil)
	down.switchTo(http.StatusServiceUnavailable)
	rig.cfg.Receivers = []config.Receiver{rig.receiver("down", down), rig.receiver("up", up)}
	w := rig.start(t)
	const n = 6
	for i := range n {
		w.publish("incident", x509Disable(hexID(i)).String())
	}
	w.results(n)
	up.await(t, n)
	eventually(t, "the failures to be counted", func() bool {
		m := w.metrics()
		return m[`rekey_notifications_total{receiver="down",result="failed"}`] > 1 && m[`rekey_notifications_pending{receiver="down"}`] == n &&
			m[`rekey_notifications_pending{receiver="up"}`] == 0 && m[`rekey_notifications_total{receiver="up",result="delivered"}`] == n
	})
	down.switchTo(http.StatusOK)
	list := down.await(t, n)
	if len(list) != n {
		t.Errorf("%d notifications came %d times", n, len(list))
	}
	if len(rig.logs.FilterMessage("the receiver takes no notifications; they wait for it").All()) == 0 {
		t.Error("nothing is logged of the receiver that was down")
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
	rig.cfg.Receivers = []config.Receiver{rig.receiver("hook", hook)}
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
	receiver := rig.receiver("hook", hook)
	old, fresh := signingSecret(), signingSecret()
	receiver.SigningSecret = secret.Ref{Env: "SIGNING"}
	rig.env["SIGNING"] = fresh + " " + old
	rig.cfg.Receivers = []config.Receiver{receiver}
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
	receiver := rig.receiver("some", some)
	receiver.Outcomes, receiver.Kinds = []jobs.Outcome{jobs.OutcomeRevoked}, []jobs.Kind{jobs.X509Disable, jobs.JWKSRevoke}
	receiver.Lanes, receiver.Accounts = []jobs.Lane{jobs.LaneUrgent}, []string{security}
	rig.cfg.Receivers = []config.Receiver{rig.receiver("all", all), receiver}
	w := rig.start(t)
	w.publish("rotation", x509Disable(hexID(1)).String())                           // Another lane.
	w.publish("incident", x509Disable(hexID(2)).with("account", legacy).String())   // Another account.
	w.publish("incident", idpDelete(hexID(3)).String())                             // Another kind.
	w.publish("incident", x509Disable(hexID(4)).with("account", "nobody").String()) // Another outcome.
	w.publish("incident", jwksRevoke(hexID(5)).String())
	all.await(t, len(w.results(4)))
	got := some.await(t, 1)
	eventually(t, "nothing to be pending", func() bool { return w.metrics()[`rekey_notifications_pending{receiver="some"}`] == 0 })
	if requests := some.requests(); len(requests) != 1 || !strings.Contains(got[0].body, hexID(5)) {
		t.Errorf("%d notifications passed the filter; the first one is %s", len(requests), got[0].body)
	}
}

func TestANotificationThatIsGivenUpCanBeReplayed(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	hook := newHook(t, nil)
	hook.switchTo(http.StatusForbidden)
	rig.cfg.Receivers = []config.Receiver{rig.receiver("hook", hook)}
	w := rig.start(t)
	w.publish("incident", x509Disable(hexID(1)).String())
	letter := w.letters(1)[0]
	checkHeaders(t, letter, map[string]string{"Rekey-Receiver": "hook", "Rekey-Code": notify.CodeRefused})
	if n := len(hook.requests()); n != 3 || letter.Subject != "rekey.v1.dlq.notification" {
		t.Errorf("%d requests were made; the letter is on %s", n, letter.Subject)
	}
	hook.switchTo(http.StatusOK)
	client := w.operator()
	defer client.Close()
	done, err := client.Replay(t.Context(), letter.Sequence, jobs.Operation{At: time.Now(), Action: jobs.ActionReplay, By: "test"})
	if err != nil || done.Receiver != "hook" {
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
	rig.cfg.Receivers = []config.Receiver{rig.receiver("hook", hook)}
	rig.cfg.Worker.Concurrency = 1
	w := rig.start(t)
	w.publish("incident", x509Disable(hexID(1)).String())
	checkHeaders(t, w.letters(1)[0], map[string]string{"Rekey-Receiver": "hook", "Rekey-Code": notify.CodeGone})
	w.publish("incident", x509Disable(hexID(2)).String())
	w.results(2)
	eventually(t, "the second one to be pending", func() bool { return w.metrics()[`rekey_notifications_pending{receiver="hook"}`] == 1 })
	if n := len(hook.requests()); n != 1 {
		t.Errorf("%d requests were made", n)
	}
}

func TestNotificationsOfAFleet(t *testing.T) {
	t.Parallel()
	rig, _ := standInRig(t)
	hook := newHook(t, nil)
	rig.cfg.Receivers = []config.Receiver{rig.receiver("hook", hook)}
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
		receiver := rig.receiver(name, hook)
		address := strings.Replace(hook.url, "//", "//user:"+secrets["password"]+"@", 1)
		rig.env[receiver.URL.Env] = address + "/" + secrets["token of the path"] + "?token=" + secrets["token of the query"]
		receiver.SigningSecret = secret.Ref{Env: "SIGN_" + name}
		rig.env[receiver.SigningSecret.Env] = signingSecret()
		secrets["signing secret of "+name] = strings.TrimPrefix(rig.env[receiver.SigningSecret.Env], "whsec_")
		rig.cfg.Receivers = append(rig.cfg.Receivers, receiver)
	}
	bad := rig.receiver("bad_secret", hooks["ok"])
	bad.SigningSecret = secret.Ref{Env: "SIGN_BAD"}
	rig.env["SIGN_BAD"] = "whsec_" + canary()
	secrets["bad signing secret"] = strings.TrimPrefix(rig.env["SIGN_BAD"], "whsec_")
	rig.cfg.Receivers = append(rig.cfg.Receivers, bad)
	w := rig.start(t)
	w.publish("incident", x509Disable(hexID(1)).String())
	hooks["ok"].await(t, 1)
	w.letters(3) // Of those that refuse, redirect or are gone.
	eventually(t, "all others to fail", func() bool {
		m := w.metrics()
		return !slices.ContainsFunc([]string{"fails", "unreachable", "no_tls", "no_url", "bad_secret"}, func(name string) bool {
			return m[`rekey_notifications_total{receiver="`+name+`",result="failed"}`] == 0
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
	err := client.Conn.BuryNotice(t.Context(), client.Names, bus.NoticeLetter{Notice: bus.Notice{Key: "1", Count: 1}, Receiver: "nobody", Code: "gone", Reason: "no"})
	if err != nil {
		t.Fatal(err)
	}
	letter := w.letters(1)[0]
	if _, err := client.Replay(t.Context(), letter.Sequence, jobs.Operation{}); !errors.Is(err, fleet.ErrNotReplayable) || !errors.Is(err, bus.ErrNoReceiver) {
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
	rig.cfg.Receivers = []config.Receiver{rig.receiver("hook", hook)}
	w = rig.start(t)
	w.publish("incident", x509Disable(hexID(2)).String())
	if got := hook.await(t, 1); len(got) != 1 || !strings.Contains(got[0].body, hexID(2)) {
		t.Errorf("%d notifications came; the first one is %s", len(got), got[0].body)
	}
}
