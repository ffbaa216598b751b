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
	// Watch is how long dead targets are looked at that may be put back, from their success, and Looks when. Zero: not at all.
	Watch time.Duration
	Looks []time.Duration
	// MaxRepeats is how often in a row a job of the same kind ends a target again that is back. Zero: not at all.
	MaxRepeats int
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

// watch is when a dead target is looked at next, after a look at a moment; the zero time when it is not.
func (p Policy) watch(r *jobs.Record, now time.Time) time.Time {
	if kinds.Of(r.Kind).Proof.Watch == 0 {
		return time.Time{}
	}
	next := nextWatch(now.Sub(r.FinishedAt), p.Watch, p.Looks)
	if next == 0 {
		return time.Time{}
	}
	return r.FinishedAt.Add(next)
}

// retries reports whether the job of a concluded proof is retried.
func (p Policy) retries(r *jobs.Record) bool {
	return p.Retry && r.Verdict() == jobs.VerdictStillAlive && r.ProofRetries() < MaxRetries
}
