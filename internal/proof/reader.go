package proof

import (
	"context"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// Reader makes the reads. They draw on the rate buckets at the rank of checks (pace.RankCheck), change nothing, and hold no slot
// of a job. An error is a *jobs.Failure; its RetryAt is obeyed, and a failed read finds nothing.
type Reader interface {
	// Read makes the read of a check as its caller, for a job whose secrets are opened and whose Search has the ids that were
	// found. It fills in Status, and Document or Elements; the checker adds the rest.
	Read(ctx context.Context, job jobs.Job, check kinds.Check) (kinds.Seen, error)
	// Events reads the API's event log of the job's organization or project: the events of some types since a moment, the
	// oldest first.
	Events(ctx context.Context, job jobs.Job, types []string, since time.Time) ([]Event, error)
}

// Event is an entry of the API's own event log.
type Event struct {
	ID, Type string
	At       time.Time
	// By is who did it, for people: the public key, user name or service account; empty where the log names none.
	By string
	// Own says that it was the job's account.
	Own bool
	// Names says that the event names the job's target.
	Names bool
}
