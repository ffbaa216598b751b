package ledger

import (
	"slices"
	"strings"
	"time"

	"rekey/internal/jobs"
)

// Filter chooses records. Empty fields choose all.
type Filter struct {
	State   jobs.State
	Kind    jobs.Kind
	Outcome jobs.Outcome
	Target  string // A part of the target.
	Event   string // The id of an event: of the CloudEvent, or its Nats-Msg-Id.
	Since   time.Time
	After   string // The id of a job: only what comes after it in the list.
	Limit   int    // At most so many; 0 is all.
}

// Chooses reports whether the filter chooses a record, whatever After and Limit say.
func (f *Filter) Chooses(r *jobs.PublicRecord) bool {
	return (f.State == "" || r.State == f.State) &&
		(f.Kind == "" || r.Kind == f.Kind) &&
		(f.Outcome == "" || r.Outcome == f.Outcome) &&
		strings.Contains(r.Target, f.Target) &&
		!r.AcceptedAt.Before(f.Since) &&
		(f.Event == "" || slices.ContainsFunc(r.Events, func(e jobs.RecordedEvent) bool { return e.ID == f.Event || e.ID == "id:"+f.Event }))
}
