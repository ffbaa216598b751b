package metrics_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestReceivers(t *testing.T) {
	const name = "rekey_notifications_total"
	const head = `
# HELP rekey_notifications_total Notifications to a receiver, by result: delivered, failed (will be retried) or given_up (dead letter written).
# TYPE rekey_notifications_total counter
`
	m, registry := newSmall(t)
	check := func(want string) {
		t.Helper()
		if err := testutil.GatherAndCompare(registry, strings.NewReader(head+want), name); err != nil {
			t.Error(err)
		}
	}
	m.Notified("siem", "delivered")
	check(`rekey_notifications_total{receiver="siem",result="delivered"} 1
rekey_notifications_total{receiver="siem",result="given_up"} 0
`)
	if err := m.SetReceivers([]string{"siem", "chat"}); err != nil {
		t.Fatal(err)
	}
	m.Notified("chat", "given_up")
	check(`rekey_notifications_total{receiver="chat",result="delivered"} 0
rekey_notifications_total{receiver="chat",result="given_up"} 1
rekey_notifications_total{receiver="siem",result="delivered"} 1
rekey_notifications_total{receiver="siem",result="given_up"} 0
`)
	if err := m.SetReceivers([]string{"chat"}); err != nil {
		t.Fatal(err)
	}
	check(`rekey_notifications_total{receiver="chat",result="delivered"} 0
rekey_notifications_total{receiver="chat",result="given_up"} 1
`)
	if err := m.SetReceivers([]string{"a", "a"}); err == nil {
		t.Error("a name is accepted twice")
	}
}
