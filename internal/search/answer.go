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

// listOf is what chooses the jobs of a query, without After. With probe, the order leads, and each job is looked up in the words.
func (q *Query) listOf(loose, probe bool) *list {
	l, words := &list{table: "jobs", column: "place", up: strings.HasPrefix(string(q.Sort), "-")}, *q
	l.whole = loose && hasWord(q.Q) // Beginnings of words are collected before the first job is found.
	switch strings.TrimPrefix(string(q.Sort), "-") {
	case string(SortFinished):
		l.column, words.Outcome = "finished", "" // An index has those of an outcome in this order.
	case string(SortChanged):
		l.column = "revision"
	}
	place, target := "j.place", "j.target"
	if terms := words.terms(loose); l.column == "place" {
		target = l.inPlace(terms, q.Target != "")
		place = l.order
	} else {
		l.sorted(terms, probe)
	}
	if l.column == "finished" {
		l.add("j.finished > 0")
		if q.Outcome != "" {
			l.add("j.outcome = ?", q.Outcome)
		}
	}
	if q.Target != "" {
		l.add("instr("+target+", ?) > 0", q.Target)
	}
	l.accepted(place, q.Since, q.Until)
	return l
}

// inPlace reads records as they are found, and returns what the target is called, where that is asked for: then those alone that have it, as
// records are large.
func (l *list) inPlace(terms []string, byTarget bool) (target string) {
	switch {
	case len(terms) > 0:
		l.from, l.order, target = "words w JOIN records r ON r.place = w.rowid", "w.rowid", "j.target"
		if byTarget {
			l.from += " JOIN jobs j ON j.place = w.rowid"
		}
		l.find("words", terms)
	case byTarget:
		l.from, l.order, target = "jobs t CROSS JOIN records r ON r.place = t.place", "t.place", "t.target"
	default:
		l.from, l.order = "records r", "r.place"
	}
	return target
}

// sorted finds jobs whose records are read when they are sorted.
func (l *list) sorted(terms []string, probe bool) {
	l.from, l.order = "jobs j", "j."+l.column
	switch {
	case len(terms) == 0:
	case probe: // Each by itself: see between.
		for _, term := range terms {
			l.add("EXISTS (SELECT 1 FROM words w WHERE w.words MATCH ? AND w.rowid = j.place)", term)
		}
	default:
		l.from = "words w JOIN jobs j ON j.place = w.rowid"
		l.find("words", terms)
	}
}

// accepted chooses by when jobs were accepted.
func (l *list) accepted(place string, since, until time.Time) {
	if !since.IsZero() {
		l.add(place+" >= ?", micros(since)*places)
	}
	if !until.IsZero() {
		l.add(place+" < ?", micros(until)*places)
	}
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

// choose is a list with words as they are, and where nothing has them, loosely. stop is not swept where nothing was found up to there.
func (p *projection) choose(ctx context.Context, listOf func(loose, probe bool) *list, words string) (l *list, stop int64, err error) {
	loose := false
	if stop = swept; hasWord(words) {
		var n int
		if n, stop, err = p.count(ctx, listOf(false, false).byPlace(), 1); err != nil {
			return nil, stop, err
		}
		loose = n == 0 && stop == swept
	}
	if l = listOf(loose, false); strings.HasPrefix(l.order, "j.") && strings.HasPrefix(l.from, "words") {
		// Few are sorted. Where there are many, some are soon found in their order.
		if n, end, err := p.count(ctx, l.byPlace(), mostSorted); err != nil || n == mostSorted || end != swept {
			return listOf(loose, true), stop, err
		}
		l.whole = true
	}
	return l, stop, nil
}

// mostSorted is how many jobs are sorted for an answer.
const mostSorted = 4000

// records reads at most limit records, and of more than most bytes none but the first. more says that there are others, stop how far
// it came.
func (p *projection) records(ctx context.Context, l *list, limit, most int) (records []json.RawMessage, more bool, stop int64, err error) {
	limit, records = cmp.Or(limit, DefaultLimit), []json.RawMessage{}
	size := answerFrame
	stop, err = p.sweep(ctx, l, func(ctx context.Context, part *list) (bool, error) {
		var found []json.RawMessage
		err := p.each(ctx, part.first(), append(part.args, limit-len(records)+1), func(scan func(...any) error) error {
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
