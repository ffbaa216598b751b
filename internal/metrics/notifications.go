package metrics

import (
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// buildNotifications makes what shows whether the targets of notifications are reached.
func (m *Metrics) buildNotifications(f promauto.Factory) {
	m.Notifications = f.NewCounterVec(counter("notifications_total",
		"Notifications to a target: delivered, failed (an attempt that did not work; another one follows) or given_up (a dead letter now)."),
		[]string{"target", "result"})
	m.NotificationsPending = f.NewGaugeVec(gauge("notifications_pending", "",
		"Results that a target has not been told of yet, those that its filter will pass over included."),
		[]string{"target"})
}

// createTarget brings the series of one target to life.
func (m *Metrics) createTarget(target string) {
	for _, result := range m.labels.notificationResults.start() {
		m.Notifications.WithLabelValues(target, result)
	}
	m.NotificationsPending.WithLabelValues(target)
}

// Notified counts what became of a notification, or of an attempt at one.
func (m *Metrics) Notified(target, result string) {
	if m == nil {
		return
	}
	m.Notifications.WithLabelValues(m.targets.Load().bound(target), m.labels.notificationResults.bound(result)).Inc()
}

// SetNotificationsPending sets how many results a target has not been told of.
func (m *Metrics) SetNotificationsPending(target string, n float64) {
	if m == nil {
		return
	}
	m.NotificationsPending.WithLabelValues(m.targets.Load().bound(target)).Set(n)
}

// SetTargets makes names the configured targets of notifications. The series of new ones begin at 0, those of targets
// that are gone disappear, the others go on. It fails, and changes nothing, when the names are not as [Config] demands.
func (m *Metrics) SetTargets(names []string) error {
	if m == nil {
		return nil
	}
	next, err := newSet("target", names)
	if err != nil {
		return fmt.Errorf("changing the targets' metrics: %w", err)
	}
	before := m.targets.Swap(&next)
	for _, name := range before.start() {
		if !slices.Contains(next.start(), name) {
			m.Notifications.DeletePartialMatch(prometheus.Labels{"target": name})
			m.NotificationsPending.DeletePartialMatch(prometheus.Labels{"target": name})
		}
	}
	for _, name := range next.start() {
		m.createTarget(name)
	}
	return nil
}
