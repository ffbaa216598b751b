package search

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"rekey/internal/jobs"
)

// What can be asked, and the last token of the subject.
const (
	AskJobs        = "jobs"
	AskJob         = "job"
	AskDeadLetters = "dead_letters"
	AskSummary     = "summary"
	AskWorkers     = "workers"
)

// Limits of one answer.
const (
	followTimeout = 250 * time.Millisecond // How long it waits for what the streams just got.
	// patience is how long the lists of a question are read: then the answer says how far it goes. The question takes queryTimes as
	// long at most: it must be answered within AskTimeout.
	patience   = 30 * time.Millisecond
	queryTimes = 20
)

// ErrTooSlow says that a question would take too long.
var ErrTooSlow = errors.New("the search takes too long: narrow it by time or by more words")

// Freshness says of what moment an answer is.
type Freshness struct {
	Worker   string    `json:"worker,omitempty"` // That has answered.
	Revision uint64    `json:"revision"`         // Up to which of its revisions the ledger is in the answer; of dead letters: their number.
	Lag      uint64    `json:"lag"`              // How many revisions the stream has beyond that.
	AsOf     time.Time `json:"as_of,omitzero"`   // When nothing was missing last.
}

// RawPage is a Page whose records were not decoded.
type RawPage[T any] struct {
	Records []T    `json:"jobs"`
	More    bool   `json:"more"`           // There are more than the limit, or the size of an answer, lets through; or Partly.
	Next    string `json:"next,omitempty"` // What After must be for those.
	Partly  bool   `json:"partly"`         // The time was over before all jobs were looked at: what comes after Next was not.
	Total   int    `json:"total"`          // How many there are at all, where it was asked for.
	Most    bool   `json:"total_is_least"` // There are at least Total.
	Freshness
}

// Page is a part of a list of jobs.
type Page = RawPage[jobs.PublicRecord]

// Answer answers a question with JSON of at most so many bytes. The error is an *Invalid for a malformed question, and
// jobs.ErrNotFound where what it names is not there.
func (p *projection) Answer(ctx context.Context, what string, question []byte, most int) ([]byte, error) {
	following, cancel := context.WithTimeout(ctx, p.followTimeout)
	err := p.follow(following, what)
	cancel()
	if _, broken := errors.AsType[*fileError](err); broken || ctx.Err() != nil {
		return nil, err // Else the answer says how far it goes.
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end = time.Now().Add(p.patience) // Others that ask take none of its time.
	limited, cancel := context.WithTimeoutCause(ctx, queryTimes*p.patience, ErrTooSlow)
	defer cancel()
	answer, err := p.answer(limited, what, question, most)
	if err != nil {
		if limited.Err() != nil {
			err = context.Cause(limited)
		}
		return nil, err
	}
	return json.Marshal(answer)
}

func (p *projection) answer(ctx context.Context, what string, question []byte, most int) (any, error) {
	switch what {
	case AskJobs:
		return reply(question, func(q *Query) (any, error) { return p.jobs(ctx, q, most) })
	case AskJob:
		return reply(question, func(q *jobQuery) (any, error) { return p.job(ctx, q.ID) })
	case AskDeadLetters:
		return reply(question, func(q *LetterQuery) (any, error) { return p.letters(ctx, q, most) })
	case AskSummary:
		return reply(question, func(q *SummaryQuery) (any, error) { return p.summary(ctx, q) })
	}
	return nil, &Invalid{"subject", "there is no such question"}
}

// reply reads a question, checks it, and answers it.
func reply[T any, Q interface {
	*T
	check() error
}](question []byte, answer func(Q) (any, error)) (any, error) {
	q := Q(new(T))
	if err := decode(question, q); err != nil {
		return nil, err
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	return answer(q)
}

// freshness is how far the answer goes, of the first stream of a question.
func (p *projection) freshness(what string) Freshness {
	at := p.at[p.sources(what)[0].stream]
	return Freshness{Worker: p.worker, Revision: at.through, Lag: max(at.last, at.through) - at.through, AsOf: at.asOf.UTC()}
}

// jobs answers with a page of jobs.
func (p *projection) jobs(ctx context.Context, q *Query, most int) (page RawPage[json.RawMessage], err error) {
	page.Freshness, page.Records = p.freshness(AskJobs), []json.RawMessage{}
	after, err := p.after(ctx, q)
	if err != nil {
		return page, err
	}
	l, found, last, err := p.search(ctx, q.listOf, q.Q+q.Target, after, cmp.Or(q.Limit, DefaultLimit)+1)
	if err != nil {
		return page, err
	}
	page.Records, err = p.records(ctx, jobRecord, found[:min(len(found), cmp.Or(q.Limit, DefaultLimit))], most)
	if n := len(page.Records); err == nil && n < len(found) {
		page.More = true
		page.Next, err = p.idAt(ctx, found[n-1].place)
	} else if last != nil {
		page.More, page.Partly, page.Next = true, true, last.cursor()
	}
	if err != nil || !q.Count {
		return page, err
	}
	if counts := q.counted(false); counts != nil {
		err := p.file.conn.QueryRowContext(ctx, counts.sql("coalesce(sum(n), 0)"), counts.args...).Scan(&page.Total)
		return page, inFile(err)
	}
	all, last, err := p.find(ctx, l.byPlace(), MostCounted+1)
	page.Total = min(max(len(all), len(page.Records)), MostCounted)
	page.Most = len(all) > MostCounted || last != nil
	return page, err
}

// What reads the record at a place.
const (
	jobRecord    = "SELECT record FROM records WHERE place = ?"
	letterRecord = "SELECT record FROM letters WHERE place = ?"
)

// records reads those of some spots, and of more than most bytes none but the first.
func (p *projection) records(ctx context.Context, query string, spots []spot, most int) (list []json.RawMessage, err error) {
	list = []json.RawMessage{}
	read, err := p.file.conn.PrepareContext(ctx, query)
	if err != nil {
		return list, inFile(err)
	}
	defer func() { err = errors.Join(err, read.Close()) }()
	size := answerFrame
	for _, s := range spots {
		var record []byte
		if err := read.QueryRowContext(background, s.place).Scan(&record); err != nil { // It takes less than to watch for the end of ctx.
			return list, inFile(err)
		}
		if size += len(record) + 1; len(list) > 0 && size > most {
			break
		}
		list = append(list, record)
	}
	return list, nil
}

// answerFrame is more than an answer has beside its records.
const answerFrame = 4096

// cursorPrefix begins an After that names no job: everything up to the spot behind it was looked at.
const cursorPrefix = "at."

func (s spot) cursor() string { return fmt.Sprintf("%s%d.%d", cursorPrefix, s.key, s.place) }

// IsCursor reports whether an After has the form of one that names no job.
func IsCursor(after string) bool { return strings.HasPrefix(after, cursorPrefix) }

// after is the spot that After names; nil: none.
func (p *projection) after(ctx context.Context, q *Query) (*spot, error) {
	s := &spot{}
	switch {
	case q.After == "":
		return nil, nil
	case IsCursor(q.After):
		if _, err := fmt.Sscanf(q.After, cursorPrefix+"%d.%d", &s.key, &s.place); err != nil || s.cursor() != q.After {
			return nil, &Invalid{"after", "must be the id of a job, or what next was"}
		}
		return s, nil
	}
	err := p.file.conn.QueryRowContext(ctx, "SELECT "+q.listOf(false).column+", place FROM jobs WHERE id = ?", q.After).Scan(&s.key, &s.place)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("looking up job %s: %w", q.After, jobs.ErrNotFound)
	}
	return s, inFile(err)
}
