package fleet

import (
	"context"
	"slices"

	"rekey/internal/jobs"
)

// ProofState is what the proof of a job asks for. The set is closed.
type ProofState string

// The states of proofs that are listed.
const (
	ProofStillAlive ProofState = "still_alive" // A person must act.
	ProofReverted   ProofState = "reverted"    // The same: it was dead, and is back.
	ProofPending    ProofState = "pending"     // There is no verdict yet.
	ProofWatched    ProofState = "watched"     // It is dead, and looked at in case it is back.
)

// ProofStates lists all states of proofs that are listed.
func ProofStates() []ProofState {
	return []ProofState{ProofStillAlive, ProofReverted, ProofPending, ProofWatched}
}

// verdicts are those that the jobs of a state have.
func (s ProofState) verdicts() []jobs.Verdict {
	if s == ProofWatched {
		return []jobs.Verdict{jobs.VerdictVerified, jobs.VerdictRecorded}
	}
	return []jobs.Verdict{jobs.Verdict(s)}
}

// has reports whether a job is in the state. One that was retried since is not.
func (s ProofState) has(r *jobs.PublicRecord) bool {
	if s == ProofWatched {
		return r.Watched()
	}
	return r.Done() && r.Verdict() == jobs.Verdict(s)
}

// Proofs returns the jobs that a query chooses whose proof is in one of these states, those first that a person must act on; and
// whether there are more than the limit of the query lets through.
func (c *Client) Proofs(ctx context.Context, q Query, states []ProofState) (list []jobs.PublicRecord, more bool, err error) {
	most := q.Limit
	for _, state := range ProofStates() {
		if !slices.Contains(states, state) {
			continue
		}
		for _, verdict := range state.verdicts() {
			q.Verdict, q.Limit = verdict, 0
			page, err := c.Jobs(ctx, q)
			if err != nil {
				return list, false, err
			}
			for i := range page.Records {
				if state.has(&page.Records[i]) {
					list = append(list, page.Records[i])
				}
			}
		}
	}
	if most > 0 && len(list) > most {
		return list[:most], true, nil
	}
	return list, false, nil
}
