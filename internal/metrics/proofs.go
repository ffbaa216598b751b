package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus/promauto"
)

// buildProofs makes the instruments of proofs.
func (m *Metrics) buildProofs(f promauto.Factory) {
	m.Proofs = f.NewCounterVec(counter("proofs_total",
		"Verdicts on the targets of jobs that succeeded, by kind and verdict."),
		[]string{"kind", "verdict"})
	m.TimeToProof = f.NewHistogramVec(histogram("time_to_proof_seconds",
		"Time from accepting a job to the verdict verified or recorded, in seconds.", jobDurationBuckets()),
		[]string{"kind"})
	m.ProofsPending = f.NewGauge(gauge("proofs_pending", "",
		"Jobs that succeeded and whose proof has no verdict yet."))
	m.WatchedTargets = f.NewGauge(gauge("watched_targets", "",
		"Dead targets that are watched in case they are restored."))
	m.Reverted = f.NewCounterVec(counter("reverted_total",
		"Watched targets that were restored, by kind."),
		[]string{"kind"})
}

// Proof counts one verdict, d after the job was accepted. dead says that something shows that the target is dead.
func (m *Metrics) Proof(kind, verdict string, dead bool, d time.Duration) {
	if m == nil {
		return
	}
	kind = m.labels.kinds.bound(kind)
	m.Proofs.WithLabelValues(kind, m.labels.verdicts.bound(verdict)).Inc()
	if dead {
		m.TimeToProof.WithLabelValues(kind).Observe(elapsed(d))
	}
}

// TargetReverted counts one watched target that was restored.
func (m *Metrics) TargetReverted(kind string) {
	if m == nil {
		return
	}
	m.Reverted.WithLabelValues(m.labels.kinds.bound(kind)).Inc()
}

// SetProofs sets how many proofs have no verdict yet, and how many targets are watched.
func (m *Metrics) SetProofs(pending, watched float64) {
	if m == nil {
		return
	}
	m.ProofsPending.Set(pending)
	m.WatchedTargets.Set(watched)
}
