package search

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
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
	// patience is how long a list is read: then the answer says how far it goes. A look at the file may read some, and takes
	// queryTimes as long at most: a question must be answered within AskTimeout.
	patience   = 40 * time.Millisecond
	queryTimes = 15
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
	limited, cancel := context.WithTimeoutCause(ctx, queryTimes*p.patience, ErrTooSlow) // Others that ask take none of its time.
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
	l, stop, err := p.choose(ctx, q.listOf, q.Q+q.Target)
	if err != nil {
		return page, err
	}
	if stop != swept && q.After == "" && l.column == "place" && !l.up { // Nothing was found up to there.
		page.More, page.Partly, page.Most, page.Next = true, true, true, cursor(stop)
		return page, nil
	}
	all := *l
	if q.After != "" {
		if err := p.behind(ctx, l, q.After); err != nil {
			return page, err
		}
	}
	page.Records, page.More, stop, err = p.records(ctx, l, q.Limit, most)
	if page.Partly = stop != swept && !page.More; page.Partly {
		page.More, page.Next = true, cursor(stop)
	} else if page.More {
		page.Next, err = idOf(page.Records)
	}
	if err != nil || !q.Count {
		return page, err
	}
	if counts := q.counted(false); counts != nil {
		err := p.file.conn.QueryRowContext(ctx, counts.sql("coalesce(sum(n), 0)", ""), counts.args...).Scan(&page.Total)
		return page, inFile(err)
	}
	n, stop, err := p.count(ctx, &all, MostCounted+1)
	page.Total = min(max(n, len(page.Records)), MostCounted)
	page.Most = n > MostCounted || stop != swept
	return page, err
}

// records reads at most limit records, and of more than most bytes none but the first. more says that there are others, stop how far
// it came.
func (p *projection) records(ctx context.Context, l *list, limit, most int) (records []json.RawMessage, more bool, stop int64, err error) {
	limit, records = cmp.Or(limit, DefaultLimit), []json.RawMessage{}
	size := answerFrame
	stop, err = p.sweep(ctx, l, func(ctx context.Context, part *list) (bool, error) {
		var found []json.RawMessage
		err := p.file.each(ctx, part.first(), append(part.args, limit-len(records)+1), func(scan func(...any) error) error {
			var record []byte
			err := scan(&record)
			found = append(found, record)
			return err
		})
		for _, record := range found {
			if err != nil {
				break
			}
			if size += len(record) + 1; len(records) == limit || len(records) > 0 && size > most {
				more = true
				break
			}
			records = append(records, record)
		}
		return more, err
	})
	return records, more, stop, err
}

// answerFrame is more than an answer has beside its records.
const answerFrame = 4096

func idOf(list []json.RawMessage) (string, error) {
	var last struct {
		JobID string `json:"job_id"`
	}
	err := json.Unmarshal(list[len(list)-1], &last)
	return last.JobID, err
}

// cursorPrefix begins an After that names no job: everything up to the number behind it was looked at.
const cursorPrefix = "at."

func cursor(stop int64) string { return cursorPrefix + strconv.FormatInt(stop, 10) }

// IsCursor reports whether an After has the form of one that names no job.
func IsCursor(after string) bool { return strings.HasPrefix(after, cursorPrefix) }

// behind chooses only what comes after a job, or after a cursor.
func (p *projection) behind(ctx context.Context, l *list, after string) error {
	than := "<"
	if l.up {
		than = ">"
	}
	if text, ok := strings.CutPrefix(after, cursorPrefix); ok {
		stop, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return &Invalid{"after", "must be the id of a job, or what next was"}
		}
		l.add(l.order+" "+than+" ?", stop)
		return nil
	}
	var place, finished, revision int64
	err := p.file.conn.QueryRowContext(ctx, "SELECT place, finished, revision FROM jobs WHERE id = ?", after).Scan(&place, &finished, &revision)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("looking up job %s: %w", after, jobs.ErrNotFound)
	}
	switch l.order {
	case "j.finished":
		l.add("(j.finished, j.place) "+than+" (?, ?)", finished, place)
	case "j.revision":
		l.add("j.revision "+than+" ?", revision)
	default:
		l.add(l.order+" "+than+" ?", place)
	}
	return inFile(err)
}

// count counts what a list has, up to a limit. stop says how far it came.
func (p *projection) count(ctx context.Context, l *list, limit int) (n int, stop int64, err error) {
	stop, err = p.sweep(ctx, l, func(ctx context.Context, part *list) (bool, error) {
		var found int
		err := p.file.conn.QueryRowContext(ctx, "SELECT count(*) FROM ("+part.sql("1", " LIMIT ?")+")", append(part.args, limit-n)...).Scan(&found)
		if err == nil {
			n += found
		}
		return n >= limit, inFile(err)
	})
	return n, stop, err
}
