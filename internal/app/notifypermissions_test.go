package app_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

func TestPermissionsSufficeForNotifications(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	rig, _ := standInRig(t)
	hook := newHook(t, nil)
	hook.switchTo(http.StatusForbidden)
	rig.cfg.NATS.URL, rig.cfg.NATS.NKeyFile = g.url, inFile(t, g.seeds["worker"])
	rig.cfg.Receivers = []config.Receiver{rig.receiver("hook", hook)}
	w := rig.launch(t)
	w.awaitReady()
	producer, _ := g.dial(t, "producer")
	producer.publish("incident", x509Disable(hexID(1)).String())
	client := g.as(t, rig, "operator", "_INBOX_OPERATOR")
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
	if list, err := client.Receivers(t.Context()); err != nil || len(list) != 1 || !list[0].Served {
		t.Errorf("Receivers = %+v, %v", list, err)
	}
}

// The permissions that the doctor knows suffice for a receiver, here one called x, and a receiver for which there are none
// holds nothing up.
func TestATargetWithoutPermissionsDelaysNothing(t *testing.T) {
	t.Parallel()
	srv := startAllowing(t, needed())
	rig, _ := standInRig(t)
	rig.env["NATS_PASSWORD"] = "secret-of-worker"
	rig.cfg.NATS.URL, rig.cfg.NATS.User, rig.cfg.NATS.Password = srv.ClientURL(), "worker", secret.Ref{Env: "NATS_PASSWORD"}
	allowed := newHook(t, nil)
	rig.cfg.Receivers = []config.Receiver{rig.receiver("forbidden", newHook(t, nil)), rig.receiver("x", allowed)}
	w := rig.launch(t)
	w.awaitReady()
	w.stranger = dialNATS(t, srv.ClientURL(), nats.UserInfo("all", "secret-of-all"))
	w.publish("incident", x509Disable(hexID(1)).String())
	w.results(1)
	allowed.await(t, 1)
	eventually(t, "the log to name the receiver", func() bool {
		return len(rig.logs.FilterMessage("the receiver is not served at the moment").FilterField(zap.String("receiver", "forbidden")).All()) == 1
	})
}
