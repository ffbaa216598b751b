package fleet

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/search"
)

type (
	// Query chooses jobs.
	Query = search.Query
	// Page is a part of a list of jobs.
	Page = search.Page
	// SummaryQuery says which jobs are counted, and by what.
	SummaryQuery = search.SummaryQuery
	// Summary is how many jobs there are.
	Summary = search.Summary
	// Group is a number of jobs that have something in common.
	Group = search.Group
	// Sort is an order of jobs.
	Sort = search.Sort
	// InvalidQuery says what is wrong with a query.
	InvalidQuery = search.Invalid
	// LetterQuery chooses dead letters.
	LetterQuery = search.LetterQuery
	// Letters are a part of the list of dead letters.
	Letters = search.Letters
	// Worker is a worker that answers.
	Worker = search.Present
)

// IsCursor reports whether a Query.After is what a list said that was not looked through.
func IsCursor(after string) bool { return search.IsCursor(after) }

// Sorts lists the orders of jobs.
func Sorts() []Sort { return search.Sorts() }

// ErrSince says what a moment must be that lists begin at.
var ErrSince = errors.New("must be an age like 24h or 7d, or a time like 2026-11-24T03:00:00Z")

// Since is the moment that a text names, by an age or a time, and the zero time for an empty one. The error is ErrSince.
func Since(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	if number, ok := strings.CutSuffix(text, "d"); ok {
		if days, err := strconv.ParseUint(number, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(days)), nil
		}
	}
	at, err := jobs.ParseTime(text)
	if err != nil {
		return at, ErrSince
	}
	return at, nil
}

// What else there is in place of an answer.
var (
	ErrTooSlow  = search.ErrTooSlow  // A search would take too long.
	ErrNoWorker = search.ErrNoWorker // No worker has answered.
)

// mostAsks is how often a question is asked that took too long, or got no further: a machine may be busy for a moment.
const mostAsks = 3

// Jobs returns the jobs that a query chooses. Without a limit it returns all of them. Where no worker answers, the streams
// themselves are read: see OnReading. The error is a *search.Invalid for a malformed query, and jobs.ErrNotFound where there is
// no job Query.After.
func (c *Client) Jobs(ctx context.Context, q Query) (Page, error) {
	most := q.Limit
	q.Limit = chunk(most, 0)
	all, err := ask[Page](ctx, c, search.AskJobs, q)
	for asks := 1; err == nil && all.More && (most <= 0 || len(all.Records) < most); {
		var next Page
		q.After, q.Count, q.Limit = all.Next, false, chunk(most, len(all.Records))
		next, err = ask[Page](ctx, c, search.AskJobs, q)
		switch {
		case err != nil && all.Partly && ctx.Err() != nil: // What was found until now is an answer, too.
			return all, nil //nolint:nilerr // It says that it is partly.
		case err == nil && next.Partly && next.Next == q.After:
			if asks++; asks > mostAsks {
				return all, ErrTooSlow
			}
		case err == nil:
			asks = 1
			all.Records, all.More, all.Next, all.Partly = append(all.Records, next.Records...), next.More, next.Next, next.Partly
		}
	}
	return all, err
}

// chunk is how many are asked for at once, when some of those that are wanted are there.
func chunk(most, have int) int {
	if most <= 0 {
		return search.MaxLimit
	}
	return min(most-have, search.MaxLimit)
}

// DeadLetters returns the dead letters that a query chooses, the latest first. Without a limit it returns all of them.
func (c *Client) DeadLetters(ctx context.Context, q LetterQuery) (Letters, error) {
	most := q.Limit
	q.Limit = chunk(most, 0)
	all, err := ask[Letters](ctx, c, search.AskDeadLetters, q)
	if all.Jobs == nil {
		all.Jobs = map[string]search.End{}
	}
	for err == nil && all.More && (most <= 0 || len(all.Letters) < most) {
		var next Letters
		q.After, q.Limit = all.Letters[len(all.Letters)-1].Number, chunk(most, len(all.Letters))
		next, err = ask[Letters](ctx, c, search.AskDeadLetters, q)
		all.Letters, all.More = append(all.Letters, next.Letters...), next.More
		maps.Copy(all.Jobs, next.Jobs)
	}
	for i := range all.Letters {
		d := &all.Letters[i]
		d.SettleWith(c.conn.Names(), all.Jobs[d.JobID].Outcome, all.Jobs[d.JobID].Verdict)
	}
	return all, err
}

// Summary counts jobs.
func (c *Client) Summary(ctx context.Context, q SummaryQuery) (Summary, error) {
	return ask[Summary](ctx, c, search.AskSummary, q)
}

// Story is a job with what was announced of it. The error is jobs.ErrNotFound where there is none.
func (c *Client) Story(ctx context.Context, id string) (search.Story[jobs.PublicRecord], error) {
	return ask[search.Story[jobs.PublicRecord]](ctx, c, search.AskJob, map[string]string{"id": id})
}

// Workers are the workers that answer searches. The error is search.ErrNoWorker where none does.
func (c *Client) Workers(ctx context.Context) (search.Workers, error) {
	return asked[search.Workers](ctx, c, search.AskWorkers, struct{}{})
}

// ask asks the workers, and where none answers the streams.
func ask[T any](ctx context.Context, c *Client, what string, question any) (T, error) {
	answer, err := asked[T](ctx, c, what, question)
	for asks := 1; asks < mostAsks && errors.Is(err, ErrTooSlow) && ctx.Err() == nil; asks++ {
		answer, err = asked[T](ctx, c, what, question)
	}
	if ctx.Err() != nil || !errors.Is(err, search.ErrNoWorker) && !isForbidden(err) {
		return answer, err
	}
	if what == search.AskDeadLetters { // A stream that does not exist is no list without dead letters.
		if _, err := bus.OpenDeadLetters(ctx, c.conn); err != nil {
			return answer, err
		}
	}
	if c.OnReading != nil && c.reader == nil {
		c.OnReading(err)
	}
	if err := c.read(ctx); err != nil {
		return answer, err
	}
	return search.Read[T](ctx, c.reader, what, question)
}

// read opens what reads the streams, once: a list that goes on does not begin anew.
func (c *Client) read(ctx context.Context) (err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.reader == nil {
		dir := ""
		if c.config.SearchInClear() {
			dir = search.InMemory
		}
		c.reader, err = search.NewReader(ctx, c.conn, dir)
	}
	return err
}

// asked asks the workers.
func asked[T any](ctx context.Context, c *Client, what string, question any) (answer T, err error) {
	request := func(ctx context.Context) error {
		answer, err = search.Ask[T](ctx, c.conn, what, question)
		return err
	}
	if c.own { // Nothing is forbidden there, and several ask at once.
		limited, cancel := context.WithTimeout(ctx, search.AskTimeout)
		defer cancel()
		err = request(limited)
		return answer, err
	}
	err = c.attempt(ctx, search.AskTimeout, request)
	return answer, err
}

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

// Proofs returns the jobs that a query chooses whose proof is in one of these states, those first that a person must act on; and
// whether there are more than the limit of the query lets through.
func (c *Client) Proofs(ctx context.Context, q Query, states []ProofState) (list []jobs.PublicRecord, more bool, err error) {
	most := q.Limit
	for _, state := range ProofStates() {
		if !slices.Contains(states, state) {
			continue
		}
		q.Watched, q.State, q.Verdict = state == ProofWatched, jobs.StateDone, jobs.Verdict(state) // One that was retried since is not done.
		if q.Watched {
			q.Verdict = ""
		}
		if most > 0 {
			if q.Limit = most - len(list); q.Limit == 0 {
				q.Limit = 1 // Whether there are more.
			}
		}
		page, err := c.Jobs(ctx, q)
		if err != nil {
			return list, false, err
		}
		if most > 0 && len(list) == most && len(page.Records) > 0 {
			return list, true, nil
		}
		list, more = append(list, page.Records...), page.More
		if more {
			return list, true, nil
		}
	}
	return list, false, nil
}
