package jobs_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"rekey/internal/apptest"
	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/notify"
	"rekey/internal/secret"
)

func TestATargetThatIsDownDelaysNothing(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	down, up := apptest.NewHook(t, nil), apptest.NewHook(t, nil)
	down.SwitchTo(http.StatusServiceUnavailable)
	rig.Cfg.Receivers = []config.Receiver{rig.Receiver("down", down), rig.Receiver("up", up)}
	w := rig.Start(t)
	const n = 6
	for i := range n {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(i)).String())
	}
	w.Results(n)
	up.Await(t, n)
	apptest.Eventually(t, "the failures to be counted", func() bool {
		m := w.Metrics()
		return m[`rekey_notifications_total{receiver="down",result="failed"}`] > 1 && m[`rekey_notifications_pending{receiver="down"}`] == n &&
			m[`rekey_notifications_pending{receiver="up"}`] == 0 && m[`rekey_notifications_total{receiver="up",result="delivered"}`] == n
	})
	down.SwitchTo(http.StatusOK)
	list := down.Await(t, n)
	if len(list) != n {
		t.Errorf("%d notifications came %d times", n, len(list))
	}
	if len(rig.Logs.FilterMessage("the receiver takes no notifications; they wait for it").All()) == 0 {
		t.Error("nothing is logged of the receiver that was down")
	}
}

func TestARestartKeepsTheNotifications(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	const wait = 3 * time.Second
	hook := apptest.NewHook(t, func(n int, w http.ResponseWriter) int {
		if n == 1 {
			w.Header().Set("Retry-After", "3")
			return http.StatusTooManyRequests
		}
		return http.StatusOK
	})
	rig.Cfg.Receivers = []config.Receiver{rig.Receiver("hook", hook)}
	w := rig.Start(t)
	for i := range 3 {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(i)).String())
	}
	w.Results(3)
	apptest.Eventually(t, "the first request", func() bool { return len(hook.Requests()) > 0 })
	w.Settled()
	w.Stop()
	rig.Start(t)
	hook.Await(t, 3)
	requests := hook.Requests()
	// Those that were under way beside the first one may have been taken.
	var later []apptest.Told
	for _, one := range requests[1:] {
		if one.ID() == requests[0].ID() {
			later = append(later, one)
		}
	}
	if len(later) != 1 || later[0].At.Sub(requests[0].At) < wait {
		t.Errorf("the refused notification was repeated %d times, want once after %s", len(later), wait)
	}
}

func TestNotificationsAreSignedAndHoldTheResult(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	hook := apptest.NewHook(t, nil)
	receiver := rig.Receiver("hook", hook)
	old, fresh := apptest.SigningSecret(), apptest.SigningSecret()
	receiver.SigningSecret = secret.Ref{Env: "SIGNING"}
	rig.Env["SIGNING"] = fresh + " " + old
	rig.Cfg.Receivers = []config.Receiver{receiver}
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).With("reason", "IR-4711").String())
	got := hook.Await(t, 1)[0]
	for _, key := range []string{old, fresh} {
		verifier, err := standardwebhooks.NewWebhook(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify([]byte(got.Body), got.Header); err != nil {
			t.Errorf("the signature is not accepted: %v", err)
		}
	}
	var body struct {
		Type      string
		Timestamp time.Time
		Data      jobs.PublicRecord
	}
	if err := json.Unmarshal([]byte(got.Body), &body); err != nil {
		t.Fatal(err)
	}
	if body.Type != bus.TypeFinished || body.Data.Outcome != jobs.OutcomeRevoked || body.Data.Reason != "IR-4711" || !body.Timestamp.Equal(body.Data.FinishedAt) {
		t.Errorf("the notification is %s", got.Body)
	}
}

func TestFiltersOfNotifications(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	all, some := apptest.NewHook(t, nil), apptest.NewHook(t, nil)
	receiver := rig.Receiver("some", some)
	receiver.Outcomes, receiver.Kinds = []jobs.Outcome{jobs.OutcomeRevoked}, []jobs.Kind{kinds.X509Disable, kinds.JWKSRevoke}
	receiver.Lanes, receiver.Accounts = []jobs.Lane{jobs.LaneUrgent}, []string{apptest.Security}
	rig.Cfg.Receivers = []config.Receiver{rig.Receiver("all", all), receiver}
	w := rig.Start(t)
	w.Publish("rotation", apptest.X509Disable(apptest.HexID(1)).String())                                 // Another lane.
	w.Publish("incident", apptest.X509Disable(apptest.HexID(2)).With("account", apptest.Legacy).String()) // Another account.
	w.Publish("incident", apptest.IdpDelete(apptest.HexID(3)).String())                                   // Another kind.
	w.Publish("incident", apptest.X509Disable(apptest.HexID(4)).With("account", "unknown").String())      // Another outcome.
	w.Publish("incident", apptest.JwksRevoke(apptest.HexID(5)).String())
	all.Await(t, len(w.Results(4)))
	got := some.Await(t, 1)
	apptest.Eventually(t, "nothing to be pending", func() bool { return w.Metrics()[`rekey_notifications_pending{receiver="some"}`] == 0 })
	if requests := some.Requests(); len(requests) != 1 || !strings.Contains(got[0].Body, apptest.HexID(5)) {
		t.Errorf("%d notifications passed the filter; the first one is %s", len(requests), got[0].Body)
	}
}

func TestANotificationThatIsGivenUpCanBeReplayed(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	hook := apptest.NewHook(t, nil)
	hook.SwitchTo(http.StatusForbidden)
	rig.Cfg.Receivers = []config.Receiver{rig.Receiver("hook", hook)}
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	letter := w.Letters(1)[0]
	apptest.CheckHeaders(t, letter, map[string]string{"Rekey-Receiver": "hook", "Rekey-Code": notify.CodeRefused})
	if n := len(hook.Requests()); n != 3 || letter.Subject != "rekey.v1.dlq.notification" {
		t.Errorf("%d requests were made; the letter is on %s", n, letter.Subject)
	}
	hook.SwitchTo(http.StatusOK)
	client := w.Operator()
	defer client.Close()
	done, err := client.Replay(t.Context(), letter.Sequence, jobs.Operation{At: time.Now(), Action: jobs.ActionReplay, By: "test"})
	if err != nil || done.Receiver != "hook" {
		t.Fatalf("Replay is %+v, %v", done, err)
	}
	again := hook.Await(t, 1)[0]
	if first := hook.Requests()[0]; again.ID() != first.ID() || again.Body != first.Body {
		t.Errorf("the replayed notification is %s: %s, the first one %s: %s", again.ID(), again.Body, first.ID(), first.Body)
	}
	if w.Count("REKEY_DLQ") != 0 {
		t.Error("the dead letter is still there")
	}
}

func TestATargetThatIsGoneIsLeftAlone(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	hook := apptest.NewHook(t, nil)
	hook.SwitchTo(http.StatusGone)
	rig.Cfg.Receivers = []config.Receiver{rig.Receiver("hook", hook)}
	rig.Cfg.Worker.Concurrency = 1
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	apptest.CheckHeaders(t, w.Letters(1)[0], map[string]string{"Rekey-Receiver": "hook", "Rekey-Code": notify.CodeGone})
	w.Publish("incident", apptest.X509Disable(apptest.HexID(2)).String())
	w.Results(2)
	apptest.Eventually(t, "the second one to be pending", func() bool { return w.Metrics()[`rekey_notifications_pending{receiver="hook"}`] == 1 })
	if n := len(hook.Requests()); n != 1 {
		t.Errorf("%d requests were made", n)
	}
}

func TestNotificationsOfAFleet(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	hook := apptest.NewHook(t, nil)
	rig.Cfg.Receivers = []config.Receiver{rig.Receiver("hook", hook)}
	first, _ := apptest.TwoWorkers(t, rig)
	const n = 20
	for i := range n {
		first.Publish("incident", apptest.X509Disable(apptest.HexID(i)).String())
	}
	hook.Await(t, n)
	first.Settled()
	if got := hook.Requests(); len(got) != n {
		t.Errorf("%d notifications came %d times", n, len(got))
	}
}

func TestSecretsOfTargetsDoNotLeak(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	secrets := apptest.Canaries{"token of the path": "path-" + apptest.Canary(), "token of the query": "query-" + apptest.Canary(), "password": "user-" + apptest.Canary()}
	hooks := map[string]*apptest.Hook{
		"ok": apptest.NewHook(t, nil), "refuses": apptest.NewHook(t, nil), "fails": apptest.NewHook(t, nil), "gone": apptest.NewHook(t, nil), "redirects": apptest.NewHook(t, nil),
	}
	hooks["refuses"].SwitchTo(http.StatusNotFound)
	hooks["fails"].SwitchTo(http.StatusBadGateway)
	hooks["gone"].SwitchTo(http.StatusGone)
	hooks["redirects"].Answer = func(_ int, w http.ResponseWriter) int {
		w.Header().Set("Location", hooks["ok"].URL+"/"+secrets["token of the path"])
		return http.StatusFound
	}
	hooks["unreachable"] = &apptest.Hook{URL: "http://" + apptest.FreeAddress(t)}
	hooks["no_tls"] = &apptest.Hook{URL: strings.Replace(hooks["ok"].URL, "http://", "https://", 1)}
	hooks["no_url"] = &apptest.Hook{URL: "://"}
	for name, hook := range hooks {
		receiver := rig.Receiver(name, hook)
		address := strings.Replace(hook.URL, "//", "//user:"+secrets["password"]+"@", 1)
		rig.Env[receiver.URL.Env] = address + "/" + secrets["token of the path"] + "?token=" + secrets["token of the query"]
		receiver.SigningSecret = secret.Ref{Env: "SIGN_" + name}
		rig.Env[receiver.SigningSecret.Env] = apptest.SigningSecret()
		secrets["signing secret of "+name] = strings.TrimPrefix(rig.Env[receiver.SigningSecret.Env], "whsec_")
		rig.Cfg.Receivers = append(rig.Cfg.Receivers, receiver)
	}
	bad := rig.Receiver("bad_secret", hooks["ok"])
	bad.SigningSecret = secret.Ref{Env: "SIGN_BAD"}
	rig.Env["SIGN_BAD"] = "whsec_" + apptest.Canary()
	secrets["bad signing secret"] = strings.TrimPrefix(rig.Env["SIGN_BAD"], "whsec_")
	rig.Cfg.Receivers = append(rig.Cfg.Receivers, bad)
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	hooks["ok"].Await(t, 1)
	w.Letters(3) // Of those that refuse, redirect or are gone.
	apptest.Eventually(t, "all others to fail", func() bool {
		m := w.Metrics()
		return !slices.ContainsFunc([]string{"fails", "unreachable", "no_tls", "no_url", "bad_secret"}, func(name string) bool {
			return m[`rekey_notifications_total{receiver="`+name+`",result="failed"}`] == 0
		})
	})
	if got := hooks["ok"].Requests(); len(got) != 1 {
		t.Errorf("a redirect was followed: %d requests", len(got))
	}
	secrets.SearchEverything(t, w)
}

func TestReplayForAReceiverThatIsNotThere(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	client := w.Operator()
	defer client.Close()
	err := w.Bus().DeadLetterNotification(t.Context(), notify.DeadLetter{Delivery: notify.Delivery{Key: "1", Count: 1}, Receiver: "unknown", Code: "gone", Reason: "no"})
	if err != nil {
		t.Fatal(err)
	}
	letter := w.Letters(1)[0]
	if _, err := client.Replay(t.Context(), letter.Sequence, jobs.Operation{}); !errors.Is(err, fleet.ErrNotReplayable) || !errors.Is(err, bus.ErrNoReceiver) {
		t.Errorf("Replay is %v", err)
	}
	if err := client.Drop(t.Context(), letter.Sequence, jobs.Operation{At: time.Now(), Action: jobs.ActionDrop, By: "test", Reason: "unknown"}); err != nil {
		t.Error(err)
	}
}

func TestANewTargetBeginsWithTheNextResult(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	w := rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	w.Results(1)
	w.Settled()
	w.Stop()
	hook := apptest.NewHook(t, nil)
	rig.Cfg.Receivers = []config.Receiver{rig.Receiver("hook", hook)}
	w = rig.Start(t)
	w.Publish("incident", apptest.X509Disable(apptest.HexID(2)).String())
	if got := hook.Await(t, 1); len(got) != 1 || !strings.Contains(got[0].Body, apptest.HexID(2)) {
		t.Errorf("%d notifications came; the first one is %s", len(got), got[0].Body)
	}
}
