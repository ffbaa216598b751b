package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus/promauto"
)

// buildRotations makes the instruments of rotations.
func (m *Metrics) buildRotations(f promauto.Factory) {
	m.Rotations = f.NewCounterVec(counter("rotations_total",
		"What became of rotations: begun, rotated, refused, exhausted or cancelled (they are over), restarted, overdue, orphan (a secret whose value was "+
			"lost was deleted), delivery_failed (an attempt to deliver failed) and not_abandoned."),
		[]string{"rotation", "result"})
	m.RotationStepTime = f.NewGaugeVec(gauge("rotation_step_timestamp_seconds", seconds,
		"Unix time since which a rotation is at a step, in seconds; 0 when it is not at that step."),
		[]string{"rotation", "step"})
	m.RotationDeadlineTime = f.NewGaugeVec(gauge("rotation_deadline_timestamp_seconds", seconds,
		"Unix time at which the old secret of an unfinished rotation ends by itself, in seconds; 0 when there is none."),
		[]string{"rotation"})
	m.RotationSecretExpires = f.NewGaugeVec(gauge("rotation_secret_expires_timestamp_seconds", seconds,
		"Unix time at which the secret ends that the latest rotation has left, in seconds; 0 when that is not known, and while a rotation is unfinished."),
		[]string{"rotation"})
}

// createRotation creates the series of one rotation.
func (m *Metrics) createRotation(rotation string) {
	for _, result := range m.labels.rotationResults.start() {
		m.Rotations.WithLabelValues(rotation, result)
	}
	for _, step := range m.labels.rotationSteps.start() {
		m.RotationStepTime.WithLabelValues(rotation, step)
	}
	m.RotationDeadlineTime.WithLabelValues(rotation)
	m.RotationSecretExpires.WithLabelValues(rotation)
}

// Rotation counts what became of a rotation.
func (m *Metrics) Rotation(rotation, result string) {
	if m == nil {
		return
	}
	m.Rotations.WithLabelValues(m.rotations.Load().bound(rotation), m.labels.rotationResults.bound(result)).Inc()
}

// RotationAt says at which step a rotation is, since when, and when its old secret ends by itself. It is at no step when that is empty,
// and there is no deadline when that is zero.
func (m *Metrics) RotationAt(rotation, step string, since, deadline time.Time) {
	if m == nil {
		return
	}
	rotation = m.rotations.Load().bound(rotation)
	if rotation != other {
		for _, one := range m.labels.rotationSteps.start() {
			m.RotationStepTime.WithLabelValues(rotation, one).Set(0)
		}
	}
	if step != "" {
		m.RotationStepTime.WithLabelValues(rotation, m.labels.rotationSteps.bound(step)).Set(unixSeconds(since))
	}
	m.RotationDeadlineTime.WithLabelValues(rotation).Set(unixSeconds(deadline))
}

// RotationLeft says when the secret ends that the latest rotation has left; the zero time: that is not known.
func (m *Metrics) RotationLeft(rotation string, ends time.Time) {
	if m == nil {
		return
	}
	m.RotationSecretExpires.WithLabelValues(m.rotations.Load().bound(rotation)).Set(unixSeconds(ends))
}

// SetRotations makes names the configured rotations, as changeLabel says.
func (m *Metrics) SetRotations(names []string) error {
	if m == nil {
		return nil
	}
	return changeLabel(&m.rotations, "rotation", names, m.createRotation, m.Rotations, m.RotationStepTime, m.RotationDeadlineTime, m.RotationSecretExpires)
}
