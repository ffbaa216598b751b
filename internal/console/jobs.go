package console

import (
	"cmp"
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
	*jobs.PublicRecord
	Shown      string // Its state, or its outcome where it has one.
	StateMeans terminal.Meaning
	ProofMeans terminal.Meaning
	RetryAt    time.Time // Zero unless it waits.
}

func rows(list []jobs.PublicRecord) []row {
	out := make([]row, 0, len(list))
	for i := range list {
		out = append(out, newRow(&list[i]))
	}
	return out
}

func newRow(r *jobs.PublicRecord) row {
	one := row{PublicRecord: r, Shown: cmp.Or(string(r.Outcome), string(r.State)), StateMeans: show.State(*r, time.Time{}).Meaning, ProofMeans: show.Verdict(r.Verdict()).Meaning}
	if r.State == jobs.StateWaiting {
		one.RetryAt = r.RetryAt
	}
	return one
}

// filter is the form above a list.
type filter struct {
	Path   string
	Fields []choice
	Any    bool // A field is set.
}

// choice is a field of a filter.
type choice struct {
	Name, Label, Value string
	Hint               string   // What may be typed,
	Values             []string // or chosen.
}

// jobsView is a list of jobs.
type jobsView struct {
	filter
	Jobs   []row
	Total  int
	Least  bool // There are at least Total.
	Behind uint64
	First  string // The beginning of the list, where this is not it.
	Next   string // What follows, where there is more.
}

// jobs lists jobs. The filter is the query of the address.
func (c *Console) jobs(ctx context.Context, one *call) (page, error) {
	values := one.r.URL.Query()
	q, err := jobsQuery(values, one.fleet.Now())
	if err != nil {
		return page{}, err
	}
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
	filters := filtered(values)
	v := jobsView{filter: filter{"/jobs", choices(values), len(filters) > 0}, Jobs: rows(found.Records), Total: found.Total, Least: found.Most, Behind: found.Lag}
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
	if id == "" || fleet.IsCursor(id) || c.person == nil || c.person.Unlimited() {
		return nil
	}
	_, err := c.job(ctx, id)
	return err
}

// choices are the fields of the filter of jobs.
func choices(values url.Values) []choice {
	list := []choice{
		{Name: "q", Label: "Words", Hint: "reason, requester, id, error, event"},
		{Name: "target", Label: "Target"},
		{Name: "requested_by", Label: "Requested by"},
		{Name: "since", Label: "Since", Hint: "24h"},
		{Name: "state", Label: "State", Values: jobs.Names(jobs.States())},
		{Name: "outcome", Label: "Outcome", Values: jobs.Names(jobs.Outcomes())},
		{Name: "verdict", Label: "Proof", Values: jobs.Names(jobs.Verdicts())},
		{Name: "kind", Label: "Kind", Values: jobs.Names(jobs.Kinds())},
		{Name: "lane", Label: "Lane", Values: jobs.Names(jobs.Lanes())},
		{Name: "sort", Label: "Order", Values: jobs.Names(fleet.Sorts())},
	}
	for i := range list {
		list[i].Value = strings.TrimSpace(values.Get(list[i].Name))
	}
	return list
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
	at, err := fleet.Since(text, now)
	if err != nil {
		err = failed(http.StatusBadRequest, "This cannot be looked for", "since "+err.Error()+".")
	}
	return at, err
}
