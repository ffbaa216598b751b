package metrics

import (
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// buildNotifications makes the instruments of notifications.
func (m *Metrics) buildNotifications(f promauto.Factory) {
	m.Notifications = f.NewCounterVec(counter("notifications_total",
		"Notifications to a receiver, by result: delivered, failed (will be retried) or given_up (dead letter written)."),
		[]string{"receiver", "result"})
	m.NotificationsPending = f.NewGaugeVec(gauge("notifications_pending", "",
		"Results that a receiver has not received yet, including those that its filter will pass over."),
		[]string{"receiver"})
}

// createReceiver creates the series of one receiver.
func (m *Metrics) createReceiver(receiver string) {
	for _, result := range m.labels.notificationResults.start() {
		m.Notifications.WithLabelValues(receiver, result)
	}
	m.NotificationsPending.WithLabelValues(receiver)
}

// Notified counts a notification, or an attempt at one, by result.
func (m *Metrics) Notified(receiver, result string) {
	if m == nil {
		return
	}
	m.Notifications.WithLabelValues(m.receivers.Load().bound(receiver), m.labels.notificationResults.bound(result)).Inc()
}

// SetNotificationsPending sets how many results a receiver has not received.
func (m *Metrics) SetNotificationsPending(receiver string, n float64) {
	if m == nil {
		return
	}
	m.NotificationsPending.WithLabelValues(m.receivers.Load().bound(receiver)).Set(n)
}

// SetReceivers makes names the configured receivers of notifications, as changeLabel says.
func (m *Metrics) SetReceivers(names []string) error {
	if m == nil {
		return nil
	}
	return changeLabel(&m.receivers, "receiver", names, m.createReceiver, m.Notifications, m.NotificationsPending)
}
