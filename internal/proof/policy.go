package proof

import (
	"slices"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// Policy says how long a proof may take, what it reads, and what becomes of it.
type Policy struct {
	Within time.Duration // How long a verdict may take, from the API's answer. Zero: nothing is checked.
	Probe  bool          // Leaked secrets are tried out themselves.
	Events bool          // The API's event log is read.
	// Retry retries jobs whose target is still alive, at most MaxRetries times.
	Retry bool
}

// MaxRetries is how often a job is retried because its target is still alive.
const MaxRetries = 3

// checks are the checks of a job that the policy allows, and the names of those that it does not.
func (p Policy) checks(job jobs.Job) (made []kinds.Check, left []string) {
	kind := kinds.Of(job.Kind)
	all := kind.Checks(job.Params.Has, true)
	if p.Probe {
		return all, nil
	}
	made = kind.Checks(job.Params.Has, false)
	for _, c := range all {
		if !slices.ContainsFunc(made, func(have kinds.Check) bool { return have.Name == c.Name }) {
			left = append(left, c.Name)
		}
	}
	return made, left
}

// retries reports whether the job of a concluded proof is retried.
func (p Policy) retries(r *jobs.Record) bool {
	return p.Retry && r.Verdict() == jobs.VerdictStillAlive && r.ProofRetries() < MaxRetries
}
