package metrics

import (
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// buildPolicies makes what shows the policies.
func (m *Metrics) buildPolicies(f promauto.Factory) {
	m.PolicyDecisions = f.NewCounterVec(counter("policy_decisions_total",
		"Events that a policy has decided about: matched, not_matched, limited (a limit held some or all of its jobs) or error (it erred, and made no job)."),
		[]string{"policy", "decision"})
}

// createPolicy brings the series of one policy to life.
func (m *Metrics) createPolicy(policy string) {
	for _, decision := range m.labels.decisions.start() {
		m.PolicyDecisions.WithLabelValues(policy, decision)
	}
}

// PolicyDecided counts one event by what a policy has decided about it.
func (m *Metrics) PolicyDecided(policy, decision string) {
	if m == nil {
		return
	}
	m.PolicyDecisions.WithLabelValues(m.policies.Load().bound(policy), m.labels.decisions.bound(decision)).Inc()
}

// SetPolicies makes names the configured policies. The series of new ones begin at 0, those of policies that are
// gone disappear, the others go on. It fails, and changes nothing, when the names are not as [Config] demands.
func (m *Metrics) SetPolicies(names []string) error {
	if m == nil {
		return nil
	}
	next, err := newSet("policy", names)
	if err != nil {
		return fmt.Errorf("changing the policies' metrics: %w", err)
	}
	before := m.policies.Swap(&next)
	for _, name := range before.start() {
		if !slices.Contains(next.start(), name) {
			m.PolicyDecisions.DeletePartialMatch(prometheus.Labels{"policy": name})
		}
	}
	for _, name := range next.start() {
		m.createPolicy(name)
	}
	return nil
}
