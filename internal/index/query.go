package index

import (
	"slices"
	"strings"
	"time"

	"rekey/internal/jobs"
)

// Query is what is asked of the index. Empty fields choose all.
type Query struct {
	Kind    jobs.Kind
	State   jobs.State
	Outcome jobs.Outcome
	Target  string // A part of the target.
	Event   string // The id of an event.
	Since   time.Time

	since    int64
	isBehind bool // Only what comes after a place in the list is chosen.
	after    Place
	events   []uint64 // Of which a record has one.
	marks    []uint64 // Of the target, which has them all.
}

// Prepare makes the query ready for use. With a record, it chooses only what comes after that in a list.
func (q Query) Prepare(after *jobs.PublicRecord) *Query {
	q.since, q.marks = Nanos(q.Since), marks(q.Target)
	if q.Event != "" {
		q.events = []uint64{hash(q.Event), hash("id:" + q.Event)}
	}
	if after != nil {
		q.isBehind, q.after = true, Place{Nanos(after.AcceptedAt), after.JobID}
	}
	return &q
}

// IsUnfinished reports whether the query asks for jobs that have no outcome.
func (q *Query) IsUnfinished() bool { return q.State != "" && q.State != jobs.StateDone }

// MayHold counts the rows of the part that the query may choose; 0 says that there is none.
func (q *Query) MayHold(s *Summary) int {
	if s.Newest < q.since || q.isBehind && s.Oldest > q.after.Accepted {
		return 0
	}
	if len(q.events) > 0 && !slices.ContainsFunc(q.events, s.Marks.mayHold) {
		return 0
	}
	if slices.ContainsFunc(q.marks, func(h uint64) bool { return !s.Marks.mayHold(h) }) {
		return 0
	}
	count := 0
	for key, n := range s.Holds {
		parts := strings.SplitN(key, "/", 3)
		if len(parts) == 3 && (q.Kind == "" || string(q.Kind) == parts[0]) &&
			(q.State == "" || string(q.State) == parts[1]) && (q.Outcome == "" || string(q.Outcome) == parts[2]) {
			count += n
		}
	}
	return count
}

// MayChoose reports whether the filter may choose the record of a row. It never says no to
// one that it chooses.
func (q *Query) MayChoose(r *Row) bool {
	return (q.State == "" || r.State == q.State) &&
		(q.Kind == "" || r.Kind == q.Kind) &&
		(q.Outcome == "" || r.Outcome == q.Outcome) &&
		r.Accepted >= q.since &&
		(!q.isBehind || q.after.Compare(r.Place()) < 0) &&
		strings.Contains(r.Target, q.Target) &&
		(len(q.events) == 0 || slices.ContainsFunc(r.Events, func(e uint64) bool { return slices.Contains(q.events, e) }))
}
