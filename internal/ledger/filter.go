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
	// Text is a part, in letters of any case, of the id, target, account, parameters, policy, detail, reason, requester or events.
	Text string
	// Kinds and Accounts are those that a reader may see. Empty: all.
	Kinds    []jobs.Kind
	Accounts []string
	After    string // The id of a job: only what comes after it in the list.
	Limit    int    // At most so many; 0 is all.
}

// Chooses reports whether the filter chooses a record, whatever After and Limit say.
func (f *Filter) Chooses(r *jobs.PublicRecord) bool {
	return (f.State == "" || r.State == f.State) &&
		(f.Kind == "" || r.Kind == f.Kind) &&
		(f.Outcome == "" || r.Outcome == f.Outcome) &&
		strings.Contains(r.Target, f.Target) &&
		!r.AcceptedAt.Before(f.Since) &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, r.Kind)) &&
		(len(f.Accounts) == 0 || slices.Contains(f.Accounts, r.Account)) &&
		(f.Text == "" || slices.ContainsFunc(texts(r), func(text string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(f.Text)) })) &&
		(f.Event == "" || slices.ContainsFunc(r.Events, func(e jobs.RecordedEvent) bool { return e.ID == f.Event || e.ID == "id:"+f.Event }))
}

// texts are what a record is searched for.
func texts(r *jobs.PublicRecord) []string {
	list := []string{r.JobID, r.Target, r.Account, r.Policy, r.Detail, r.Reason, r.RequestedBy, r.OnBehalfOf}
	for _, value := range r.Params {
		list = append(list, value)
	}
	for _, e := range r.Events {
		list = append(list, e.Source, e.ID, e.Reason, e.RequestedBy, e.OnBehalfOf)
	}
	return list
}
