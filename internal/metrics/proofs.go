package metrics

import (
	"math"
	"slices"
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
	m.Alive = f.NewGaugeVec(gauge("alive_jobs", "",
		"Jobs whose credential is not known to be dead, of the whole fleet: works (a look after the success shows that it works), open (no outcome yet), given_up (refused or exhausted in 24 hours, without a later success, its dead letter not dropped); NaN while the search does not know."),
		[]string{"state"})
	m.AliveOldest = f.NewGaugeVec(gauge("alive_oldest_accepted_timestamp_seconds", seconds,
		"When the oldest of alive_jobs was accepted, in seconds since 1970; 0 where there is none, NaN while the search does not know."),
		[]string{"state"})
	for _, state := range aliveStates() {
		m.Alive.WithLabelValues(state).Set(math.NaN())
		m.AliveOldest.WithLabelValues(state).Set(math.NaN())
	}
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

// aliveStates are the states in which a credential is not known to be dead.
func aliveStates() []string { return []string{"works", "open", "given_up"} }

// SetAlive sets how many jobs are in a state in which their credential is not known to be dead, and when the oldest of them was accepted.
func (m *Metrics) SetAlive(state string, jobs int, oldest time.Time) {
	if m == nil {
		return
	}
	if !slices.Contains(aliveStates(), state) {
		state = other
	}
	m.Alive.WithLabelValues(state).Set(float64(jobs))
	at := 0.0
	if !oldest.IsZero() {
		at = float64(oldest.UnixMilli()) / 1000
	}
	m.AliveOldest.WithLabelValues(state).Set(at)
}

// SetProofs sets how many proofs have no verdict yet, and how many targets are watched.
func (m *Metrics) SetProofs(pending, watched float64) {
	if m == nil {
		return
	}
	m.ProofsPending.Set(pending)
	m.WatchedTargets.Set(watched)
}
