package jobs_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

func TestPermissionsSufficeForNotifications(t *testing.T) {
	t.Parallel()
	g := apptest.StartGuarded(t)
	rig, _ := apptest.StandInRig(t)
	hook := apptest.NewHook(t, nil)
	hook.SwitchTo(http.StatusForbidden)
	rig.Cfg.NATS.URL, rig.Cfg.NATS.NKeyFile = g.URL, apptest.InFile(t, g.Seeds["worker"])
	rig.Cfg.Receivers = []config.Receiver{rig.Receiver("hook", hook)}
	w := rig.Launch(t)
	w.AwaitReady()
	producer, _ := g.Dial(t, "producer")
	producer.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	client := g.As(t, rig, "operator", "_INBOX_OPERATOR")
	apptest.Eventually(t, "the dead letter", func() bool {
		list, err := client.StoredDeadLetters(t.Context(), 1)
		return err == nil && len(list) == 1
	})
	hook.SwitchTo(http.StatusOK)
	if _, err := client.Replay(t.Context(), 1, jobs.Operation{At: time.Now(), Action: jobs.ActionReplay, By: "test"}); err != nil {
		t.Fatal(err)
	}
	hook.Await(t, 1)
	if list, err := client.Receivers(t.Context()); err != nil || len(list) != 1 || !list[0].Served {
		t.Errorf("Receivers = %+v, %v", list, err)
	}
}

// The permissions that the doctor knows suffice for a receiver, here one called x, and a receiver without any
// holds nothing up.
func TestATargetWithoutPermissionsDelaysNothing(t *testing.T) {
	t.Parallel()
	srv := apptest.StartAllowing(t, apptest.Needed())
	rig, _ := apptest.StandInRig(t)
	rig.Env["NATS_PASSWORD"] = "secret-of-worker"
	rig.Cfg.NATS.URL, rig.Cfg.NATS.User, rig.Cfg.NATS.Password = srv.ClientURL(), "worker", secret.Ref{Env: "NATS_PASSWORD"}
	allowed := apptest.NewHook(t, nil)
	rig.Cfg.Receivers = []config.Receiver{rig.Receiver("forbidden", apptest.NewHook(t, nil)), rig.Receiver("x", allowed)}
	w := rig.Launch(t)
	w.AwaitReady()
	w.Stranger = apptest.DialNATS(t, srv.ClientURL(), nats.UserInfo("all", "secret-of-all"))
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	w.Results(1)
	allowed.Await(t, 1)
	apptest.Eventually(t, "the log to name the receiver", func() bool {
		return len(rig.Logs.FilterMessage("the receiver is not served at the moment").FilterField(zap.String("receiver", "forbidden")).All()) == 1
	})
}

// TestReadinessNamesWhatIsForbidden: a worker without a permission that it needs is not ready and says which, instead of questions without an answer, and
// nothing is called or lost.
func TestReadinessNamesWhatIsForbidden(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		deny, says string
		calls      int
	}{
		{"$KV.REKEY_TARGETS.>", "$KV.REKEY_TARGETS.> may not be published to", 0},
		{"rekey.v1.result.>", "rekey.v1.result.x509-disable.revoked may not be published to", 1},
		{"$JS.API.CONSUMER.MSG.NEXT.REKEY_JOBS.*", "$JS.API.CONSUMER.MSG.NEXT.REKEY_JOBS.jobs-urgent may not be published to", 1},
	} {
		t.Run(tt.deny, func(t *testing.T) {
			t.Parallel()
			allowed := apptest.Needed()
			allowed.Publish.Deny = []string{tt.deny}
			srv := apptest.StartAllowing(t, allowed)
			rig, s := apptest.StandInRig(t)
			rig.Env["NATS_PASSWORD"] = "secret-of-worker"
			rig.Cfg.NATS.URL, rig.Cfg.NATS.User, rig.Cfg.NATS.Password = srv.ClientURL(), "worker", secret.Ref{Env: "NATS_PASSWORD"}
			w := rig.Launch(t)
			w.AwaitReady()
			w.Stranger = apptest.DialNATS(t, srv.ClientURL(), nats.UserInfo("all", "secret-of-all"))
			w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
			apptest.Eventually(t, "the worker to say what is forbidden", func() bool {
				status, _, body := w.Get("/readyz", "")
				return status == 503 && strings.Contains(body, `{"name":"permissions","ok":false,"error":"NATS refuses what this worker needs, and worker doctor lists it all: `) && strings.Contains(body, tt.says)
			})
			if got := s.Requests(apptest.HexID(1)); len(got) > tt.calls {
				t.Errorf("%d calls, want at most %d", len(got), tt.calls)
			}
		})
	}
}
