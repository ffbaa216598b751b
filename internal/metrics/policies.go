package metrics

import (
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// buildPolicies makes the instruments of policies.
func (m *Metrics) buildPolicies(f promauto.Factory) {
	m.PolicyDecisions = f.NewCounterVec(counter("policy_decisions_total",
		"Events that a policy has evaluated: matched, not_matched, limited (a limit rejected some or all of its jobs) or error (the evaluation failed, without a job)."),
		[]string{"policy", "decision"})
}

// createPolicy creates the series of one policy.
func (m *Metrics) createPolicy(policy string) {
	for _, decision := range m.labels.decisions.start() {
		m.PolicyDecisions.WithLabelValues(policy, decision)
	}
}

// PolicyDecided counts one event by the decision of a policy.
func (m *Metrics) PolicyDecided(policy, decision string) {
	if m == nil {
		return
	}
	m.PolicyDecisions.WithLabelValues(m.policies.Load().bound(policy), m.labels.decisions.bound(decision)).Inc()
}

// SetPolicies makes names the configured policies, as changeLabel says.
func (m *Metrics) SetPolicies(names []string) error {
	if m == nil {
		return nil
	}
	return changeLabel(&m.policies, "policy", names, m.createPolicy, m.PolicyDecisions)
}
