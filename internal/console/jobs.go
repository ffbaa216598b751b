package console

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/show"
	"rekey/internal/terminal"
)

// jobsOnPage is how many jobs a page lists.
const jobsOnPage = 50

// row is a job in a list.
type row struct {
	ID          string
	Kind        jobs.Kind
	Target      string
	Lane        jobs.Lane
	State       string // Its outcome where it has one.
	StateMeans  terminal.Meaning
	RetryAt     time.Time
	Paced       bool // RetryAt is about its turn.
	Verdict     jobs.Verdict
	ProofMeans  terminal.Meaning
	Attempts    int
	RequestedBy string
	Reason      string
	AcceptedAt  time.Time
	FinishedAt  time.Time
}

func rows(list []jobs.PublicRecord) []row {
	out := make([]row, 0, len(list))
	for i := range list {
		out = append(out, newRow(&list[i]))
	}
	return out
}

func newRow(r *jobs.PublicRecord) row {
	one := row{
		ID: r.JobID, Kind: r.Kind, Target: r.Target, Lane: r.Lane, State: string(r.State), StateMeans: show.State(*r, time.Time{}).Meaning, Paced: r.Paced,
		Verdict: r.Verdict(), ProofMeans: show.Verdict(r.Verdict()).Meaning, Attempts: r.AttemptCount, RequestedBy: r.RequestedBy, Reason: r.Reason,
		AcceptedAt: r.AcceptedAt, FinishedAt: r.FinishedAt,
	}
	switch r.State {
	case jobs.StateDone:
		one.State = string(r.Outcome)
	case jobs.StateWaiting:
		one.RetryAt = r.RetryAt
	case jobs.StateQueued, jobs.StateRunning:
	}
	return one
}

// choice is a field of a filter with a closed set of values.
type choice struct {
	Name, Label, Value string
	Values             []string
}

// jobsView is a list of jobs.
type jobsView struct {
	Jobs    []row
	Choices []choice
	Q       string
	Target  string
	By      string
	Since   string
	Total   int
	Least   bool // There are at least Total.
	Behind  uint64
	First   string // The beginning of the list, where this is not it.
	Next    string // What follows, where there is more.
	Any     bool   // A filter is set.
}

// jobs lists jobs. The filter is the query of the address.
func (c *Console) jobs(one *call) (page, error) {
	values := one.r.URL.Query()
	q, err := jobsQuery(values, one.fleet.Now())
	if err != nil {
		return page{}, err
	}
	ctx, cancel := one.within()
	defer cancel()
	if one.person != nil {
		q.Kinds, q.Accounts = one.person.Kinds, one.person.Client.Accounts
	}
	if err := one.behind(ctx, q.After); err != nil {
		return page{}, err
	}
	found, err := one.fleet.Jobs(ctx, q)
	if err != nil {
		return page{}, err
	}
	v := jobsView{
		Jobs: rows(found.Records), Choices: choices(values), Q: q.Q, Target: q.Target, By: q.RequestedBy, Since: values.Get("since"), Total: found.Total, Least: found.Most,
		Behind: found.Lag,
	}
	filters := filtered(values)
	v.Any = len(filters) > 0
	if q.After != "" {
		v.First = address("/jobs", filters, "")
	}
	if found.More {
		v.Next = address("/jobs", filters, found.Next)
	}
	return page{Template: "jobs", Title: "Jobs", Data: v}, nil
}

// behind refuses to go on behind a job that the reader may not see, as behind one that does not exist.
func (c *call) behind(ctx context.Context, id string) error {
	if id == "" || c.person == nil || c.person.Unlimited() {
		return nil
	}
	record, err := c.fleet.Job(ctx, id)
	if err == nil && !c.sees(&record) {
		err = jobs.ErrNotFound
	}
	return err
}

// choices are the filters with closed sets.
func choices(values url.Values) []choice {
	return []choice{
		{"state", "State", values.Get("state"), jobs.Names(jobs.States())},
		{"outcome", "Outcome", values.Get("outcome"), jobs.Names(jobs.Outcomes())},
		{"verdict", "Proof", values.Get("verdict"), jobs.Names(jobs.Verdicts())},
		{"kind", "Kind", values.Get("kind"), jobs.Names(jobs.Kinds())},
		{"lane", "Lane", values.Get("lane"), jobs.Names(jobs.Lanes())},
		{"sort", "Order", values.Get("sort"), jobs.Names(fleet.Sorts())},
	}
}

// filtered are the fields of a query that are set, without where the list goes on.
func filtered(values url.Values) url.Values {
	out := url.Values{}
	for name := range values {
		if value := strings.TrimSpace(values.Get(name)); value != "" && name != "after" {
			out.Set(name, value)
		}
	}
	return out
}

// address is that of a list behind a job, "" for its beginning.
func address(path string, filters url.Values, after string) string {
	if after != "" {
		filters = filtered(filters)
		filters.Set("after", after)
	}
	if len(filters) == 0 {
		return path
	}
	return path + "?" + filters.Encode()
}

// jobsQuery is the query of an address.
func jobsQuery(values url.Values, now time.Time) (fleet.Query, error) {
	get := func(name string) string { return strings.TrimSpace(values.Get(name)) }
	q := fleet.Query{
		State: jobs.State(get("state")), Kind: jobs.Kind(get("kind")), Outcome: jobs.Outcome(get("outcome")), Verdict: jobs.Verdict(get("verdict")),
		Lane: jobs.Lane(get("lane")), Account: get("account"), RequestedBy: get("requested_by"), Policy: get("policy"), Target: get("target"), Q: get("q"),
		Sort: fleet.Sort(get("sort")), After: get("after"), Limit: jobsOnPage, Count: true,
	}
	var err error
	q.Since, err = since(get("since"), now)
	return q, err
}

// since is a moment: a time, or an age.
func since(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	at, err := jobs.ParseTime(text)
	if err != nil {
		return at, failed(http.StatusBadRequest, "This cannot be looked for", "since must be an age like 24h or a time like 2026-11-24T03:00:00Z.")
	}
	return at, nil
}
