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
	queryTimeout  = 600 * time.Millisecond // Of one look at the file. A question must be answered within AskTimeout.
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
	More    bool   `json:"more"`           // There are more than the limit, or the size of an answer, lets through.
	Next    string `json:"next,omitempty"` // What After must be for those.
	Total   int    `json:"total"`          // How many there are at all, where it was asked for.
	Most    bool   `json:"total_is_least"` // There are at least Total.
	Freshness
}

// Page is a part of a list of jobs.
type Page = RawPage[jobs.PublicRecord]

// Answer answers a question with JSON of at most so many bytes. The error is an *Invalid for a malformed question, and
// jobs.ErrNotFound where what it names is not there.
func (p *projection) Answer(ctx context.Context, what string, question []byte, most int) ([]byte, error) {
	following, cancel := context.WithTimeout(ctx, followTimeout)
	err := p.follow(following, what)
	cancel()
	if _, broken := errors.AsType[*fileError](err); broken || ctx.Err() != nil {
		return nil, err // Else the answer says how far it goes.
	}
	limited, cancel := context.WithTimeoutCause(ctx, queryTimeout, ErrTooSlow)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
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

// list is a query that becomes SQL.
type list struct {
	from, order string
	where       []string
	args        []any
}

func (l *list) add(condition string, args ...any) {
	l.where, l.args = append(l.where, condition), append(l.args, args...)
}

func (l *list) sql(columns, tail string) string {
	statement := "SELECT " + columns + " FROM " + l.from
	if len(l.where) > 0 {
		statement += " WHERE " + strings.Join(l.where, " AND ")
	}
	return statement + tail
}

// listOf is what chooses the jobs of a query, without After.
func (q *Query) listOf(loose bool) *list {
	l, match := &list{from: "records r"}, q.match(loose)
	column := "r.place"
	if q.Sort != "" && strings.TrimPrefix(string(q.Sort), "-") != string(SortAccepted) || q.Target != "" {
		l.from += " JOIN jobs j ON j.place = r.place"
	}
	if match != "" {
		l.from, column = strings.Replace(l.from, "records r", "words w JOIN records r ON r.place = w.rowid", 1), "w.rowid"
		l.add("w.words MATCH ?", match)
	}
	if q.Target != "" {
		l.add("instr(j.target, ?) > 0", q.Target)
	}
	if !q.Since.IsZero() {
		l.add(column+" >= ?", micros(q.Since)*places)
	}
	if !q.Until.IsZero() {
		l.add(column+" < ?", micros(q.Until)*places)
	}
	l.order = column
	switch strings.TrimPrefix(string(q.Sort), "-") {
	case string(SortFinished):
		l.order = "j.finished"
		l.add("j.finished > 0")
	case string(SortChanged):
		l.order = "j.revision"
	}
	return l
}

// jobs answers with a page of jobs.
func (p *projection) jobs(ctx context.Context, q *Query, most int) (page RawPage[json.RawMessage], err error) {
	page.Freshness = p.freshness(AskJobs)
	l, err := p.choose(ctx, q.listOf, q.Q+q.Target)
	if err != nil {
		return page, err
	}
	if q.Count {
		if page.Total, err = p.count(ctx, l, MostCounted+1); err != nil {
			return page, err
		}
		page.Most, page.Total = page.Total > MostCounted, min(page.Total, MostCounted)
	}
	direction, than := " DESC", "<"
	if strings.HasPrefix(string(q.Sort), "-") {
		direction, than = "", ">"
	}
	if q.After != "" {
		if err := p.behind(ctx, l, q.After, than); err != nil {
			return page, err
		}
	}
	order := " ORDER BY " + l.order + direction
	if strings.HasPrefix(l.order, "j.") {
		order += ", r.place" + direction
	}
	page.Records, page.More, err = p.records(ctx, l, order, q.Limit, most)
	if err == nil && page.More {
		page.Next, err = idOf(page.Records)
	}
	return page, err
}

// choose is a list with words as they are, and where nothing has them, loosely.
func (p *projection) choose(ctx context.Context, listOf func(loose bool) *list, words string) (*list, error) {
	l := listOf(false)
	if !hasWord(words) {
		return l, nil
	}
	if found, err := p.count(ctx, l, 1); err != nil || found > 0 {
		return l, err
	}
	return listOf(true), nil
}

// records reads at most limit records, and of more than most bytes none but the first. more says that there are others.
func (p *projection) records(ctx context.Context, l *list, order string, limit, most int) (records []json.RawMessage, more bool, err error) {
	limit, records = cmp.Or(limit, DefaultLimit), []json.RawMessage{}
	size := answerFrame
	err = p.each(ctx, l.sql("r.record", order+" LIMIT ?"), append(l.args, limit+1), func(scan func(...any) error) error {
		var record []byte
		if err := scan(&record); err != nil {
			return err
		}
		if size += len(record) + 1; more || len(records) == limit || len(records) > 0 && size > most {
			more = true
			return nil
		}
		records = append(records, record)
		return nil
	})
	return records, more, err
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

// behind chooses only what comes after a job.
func (p *projection) behind(ctx context.Context, l *list, id, than string) error {
	var place, finished, revision int64
	err := p.file.conn.QueryRowContext(ctx, "SELECT place, finished, revision FROM jobs WHERE id = ?", id).Scan(&place, &finished, &revision)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("looking up job %s: %w", id, jobs.ErrNotFound)
	}
	switch l.order {
	case "j.finished":
		l.add("(j.finished, r.place) "+than+" (?, ?)", finished, place)
	case "j.revision":
		l.add("j.revision "+than+" ?", revision)
	default:
		l.add(l.order+" "+than+" ?", place)
	}
	return inFile(err)
}

// count counts what a list has, up to a limit.
func (p *projection) count(ctx context.Context, l *list, limit int) (n int, err error) {
	err = p.file.conn.QueryRowContext(ctx, "SELECT count(*) FROM ("+l.sql("1", " LIMIT ?")+")", append(l.args, limit)...).Scan(&n)
	return n, inFile(err)
}

// jobQuery names a job.
type jobQuery struct {
	ID string `json:"id"`
}

func (q *jobQuery) check() error {
	if q.ID == "" {
		return &Invalid{"id", "the id of a job is expected"}
	}
	return short("id", q.ID)
}

// Story is a job with what was announced of it.
type Story[T any] struct {
	Job       T           `json:"job"`
	Announced []Announced `json:"announced"`
	Freshness
}

// Announced is a result, or the verdict of a proof, in the stream of results.
type Announced struct {
	Seq     uint64    `json:"seq"`
	At      time.Time `json:"at"`
	Outcome string    `json:"outcome,omitempty"`
	Verdict string    `json:"verdict,omitempty"`
}

func (p *projection) job(ctx context.Context, id string) (story Story[json.RawMessage], err error) {
	story.Freshness, story.Announced = p.freshness(AskJob), []Announced{}
	var record []byte
	err = p.file.conn.QueryRowContext(ctx, "SELECT r.record FROM jobs j JOIN records r ON r.place = j.place WHERE j.id = ?", id).Scan(&record)
	if errors.Is(err, sql.ErrNoRows) {
		return story, fmt.Errorf("job %s: %w", id, jobs.ErrNotFound)
	}
	if err != nil {
		return story, inFile(err)
	}
	story.Job = record
	err = p.each(ctx, "SELECT place, at, ending, proof FROM endings WHERE job = ? ORDER BY place LIMIT ?", []any{id, MaxLimit}, func(scan func(...any) error) error {
		var a Announced
		var at int64
		var proof bool
		if err := scan(&a.Seq, &at, &a.Outcome, &proof); err != nil {
			return err
		}
		if a.At = time.UnixMicro(at).UTC(); proof {
			a.Outcome, a.Verdict = "", a.Outcome
		}
		story.Announced = append(story.Announced, a)
		return nil
	})
	return story, err
}
