package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
)

// How long lists are.
const (
	defaultLimit = 50
	maxLimit     = 500
)

// JobList is a part of the list of jobs, the latest accepted first.
type JobList struct {
	Jobs []jobs.PublicRecord `json:"jobs"`
	// More says that there are more jobs, or that not all were looked at in time, which Partly says: after goes on there.
	More   bool   `json:"more"`
	Partly bool   `json:"partly"`
	After  string `json:"after,omitempty"`
}

// list answers with the jobs that the query chooses.
func (s *Server) list(c *call) error {
	filter, err := c.filter()
	if err != nil {
		return err
	}
	ctx, cancel := c.within()
	defer cancel()
	if err := c.behind(ctx, filter.After); err != nil {
		return err
	}
	page, err := c.fleet.Jobs(ctx, filter)
	switch {
	case errors.Is(err, jobs.ErrNotFound):
		return inQuery("after", "there is no such job")
	case errors.Is(err, fleet.ErrTooSlow):
		return unavailable(err.Error())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errSlow):
		return unavailable("the list takes longer than " + askTimeout.String() + ": choose fewer jobs, with since for example")
	case err != nil:
		return err
	}
	list := JobList{Jobs: page.Records, More: page.More, Partly: page.Partly, After: page.Next}
	if list.Jobs == nil {
		list.Jobs = []jobs.PublicRecord{}
	}
	writeJSON(c.w, http.StatusOK, "", list)
	return nil
}

// behind refuses to go on behind a job that the client may not see, as behind one that does not exist.
func (c *call) behind(ctx context.Context, id string) error {
	if id == "" || fleet.IsCursor(id) || c.client.Unlimited() {
		return nil
	}
	_, err := c.find(ctx, id)
	if p, ok := errors.AsType[*Problem](err); ok && p.Status == http.StatusNotFound {
		return inQuery("after", "there is no such job")
	}
	return err
}

// visible is the id of a job that the client may see, and else one that there is not: what is waited for then comes no sooner, and no
// later, than for a job that does not exist.
func (c *call) visible(ctx context.Context, id string) string {
	if c.client.Unlimited() {
		return id
	}
	record, err := c.fleet.Job(ctx, id)
	if err == nil && !c.sees(&record) {
		return jobs.ID(rand.Text(), id)
	}
	return id
}

// mayKnow reports whether the client may know what became of a request from a source: its own, or any where it is not limited.
func (c *call) mayKnow(source string) bool {
	return c.client.Unlimited() || source == SourcePrefix+c.client.Name || source == c.sender()
}

// sees reports whether the client may have to do with a job: by its kind and account, or because it has asked for it. What was asked for
// under another kind may have become the one that fits.
func (c *call) sees(r *jobs.PublicRecord) bool {
	return c.client.Allows(r.Kind, r.Account) == "" || slices.ContainsFunc(r.Events, func(e jobs.RecordedEvent) bool { return c.mayKnow(e.Source) })
}

// filter is what the query chooses of what the client may see.
func (c *call) filter() (fleet.Query, error) {
	q, err := c.query("state", "kind", "outcome", "verdict", "target", "q", "since", "limit", "after")
	if err != nil {
		return fleet.Query{}, err
	}
	f := fleet.Query{Target: q.Get("target"), Q: q.Get("q"), After: q.Get("after"), Kinds: c.client.Kinds, Accounts: c.client.Accounts}
	var problems []error
	note := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	f.State, err = oneOf("state", q, jobs.States())
	note(err)
	f.Kind, err = oneOf("kind", q, jobs.Kinds())
	note(err)
	f.Outcome, err = oneOf("outcome", q, jobs.Outcomes())
	note(err)
	f.Verdict, err = oneOf("verdict", q, jobs.Verdicts())
	note(err)
	f.Since, err = since(q, c.fleet.Now())
	note(err)
	f.Limit, err = limit(q)
	note(err)
	if f.After != "" && !isID(f.After) && !fleet.IsCursor(f.After) {
		note(&jobs.Malformed{Field: "after", Detail: "must be the id of a job, or what after was in the list before"})
	}
	if problems != nil {
		return f, mistakes(http.StatusBadRequest, CodeMalformed, errors.Join(problems...))
	}
	return f, nil
}

// query reads the query, in which each of these names may be once, and no other.
func (c *call) query(names ...string) (url.Values, error) {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, problem(http.StatusBadRequest, CodeMalformed, "the query cannot be read")
	}
	for name, list := range values {
		switch {
		case !slices.Contains(names, name):
			return nil, inQuery(safe(name), "unknown parameter; the parameters are "+strings.Join(names, ", "))
		case len(list) > 1:
			return nil, inQuery(name, "is there twice")
		case len(list[0]) > maxText || !isLine(list[0]):
			return nil, inQuery(name, "must be a text of up to 1024 bytes without control characters")
		}
	}
	return values, nil
}

// inQuery is the problem of a parameter of the query.
func inQuery(name, detail string) *Problem {
	return mistakes(http.StatusBadRequest, CodeMalformed, &jobs.Malformed{Field: name, Detail: detail})
}

// oneOf is the member of a closed set that the query names, or "".
func oneOf[T ~string](name string, q url.Values, set []T) (T, error) {
	value := T(q.Get(name))
	if value == "" || slices.Contains(set, value) {
		return value, nil
	}
	return "", &jobs.Malformed{Field: name, Detail: "must be one of " + strings.Join(jobs.Names(set), ", ")}
}

// since is the moment that the query names: a time, or an age.
func since(q url.Values, now time.Time) (time.Time, error) {
	at, err := fleet.Since(q.Get("since"), now)
	if err != nil {
		return at, &jobs.Malformed{Field: "since", Detail: err.Error()}
	}
	return at, nil
}

func limit(q url.Values) (int, error) {
	text := q.Get("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, &jobs.Malformed{Field: "limit", Detail: fmt.Sprintf("must be a number from 1 to %d", maxLimit)}
	}
	return n, nil
}
