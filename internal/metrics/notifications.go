package metrics

import (
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// buildNotifications makes what shows whether the receivers of notifications are reached.
func (m *Metrics) buildNotifications(f promauto.Factory) {
	m.Notifications = f.NewCounterVec(counter("notifications_total",
		"Notifications to a receiver: delivered, failed (an attempt that did not work; another one follows) or given_up (a dead letter now)."),
		[]string{"receiver", "result"})
	m.NotificationsPending = f.NewGaugeVec(gauge("notifications_pending", "",
		"Results that a receiver has not been told of yet, those that its filter will pass over included."),
		[]string{"receiver"})
}

// createReceiver brings the series of one receiver to life.
func (m *Metrics) createReceiver(receiver string) {
	for _, result := range m.labels.notificationResults.start() {
		m.Notifications.WithLabelValues(receiver, result)
	}
	m.NotificationsPending.WithLabelValues(receiver)
}

// Notified counts what became of a notification, or of an attempt at one.
func (m *Metrics) Notified(receiver, result string) {
	if m == nil {
		return
	}
	m.Notifications.WithLabelValues(m.receivers.Load().bound(receiver), m.labels.notificationResults.bound(result)).Inc()
}

// SetNotificationsPending sets how many results a receiver has not been told of.
func (m *Metrics) SetNotificationsPending(receiver string, n float64) {
	if m == nil {
		return
	}
	m.NotificationsPending.WithLabelValues(m.receivers.Load().bound(receiver)).Set(n)
}

// SetReceivers makes names the configured receivers of notifications. The series of new ones begin at 0, those of receivers
// that are gone disappear, the others go on. It fails, and changes nothing, when the names are not as [Config] demands.
func (m *Metrics) SetReceivers(names []string) error {
	if m == nil {
		return nil
	}
	next, err := newSet("receiver", names)
	if err != nil {
		return fmt.Errorf("changing the receivers' metrics: %w", err)
	}
	before := m.receivers.Swap(&next)
	for _, name := range before.start() {
		if !slices.Contains(next.start(), name) {
			m.Notifications.DeletePartialMatch(prometheus.Labels{"receiver": name})
			m.NotificationsPending.DeletePartialMatch(prometheus.Labels{"receiver": name})
		}
	}
	for _, name := range next.start() {
		m.createReceiver(name)
	}
	return nil
}
