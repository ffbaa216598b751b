package search

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"rekey/internal/bus"
	"rekey/internal/jobs"
)

// LetterQuery chooses dead letters. Empty fields choose all.
type LetterQuery struct {
	Code     string    `json:"code,omitempty"`
	Kind     string    `json:"kind,omitempty"`
	Job      string    `json:"job,omitempty"`
	Receiver string    `json:"receiver,omitempty"`
	Q        string    `json:"q,omitempty"`     // Words of reason, job, event, receiver, as those of a Query.
	Since    time.Time `json:"since,omitzero"`  // Written then or later.
	After    uint64    `json:"after,omitempty"` // A number: only those before it, which come after it in the list.
	Limit    int       `json:"limit,omitempty"` // At most so many, up to 1000; default 50.
}

func (q *LetterQuery) check() error {
	return cmp.Or(short("code", q.Code), short("kind", q.Kind), short("job", q.Job), short("receiver", q.Receiver), checkWords(q.Q), checkLimit(q.Limit))
}

// RawLetters is a part of the list of dead letters, the latest first.
type RawLetters[T any] struct {
	Letters []T            `json:"dead_letters"`
	More    bool           `json:"more"`
	Codes   map[string]int `json:"codes"` // How many there are of each code, whatever was asked for.
	// Jobs are the ends of the letters' jobs that have one which is a success, by their ids.
	Jobs map[string]End `json:"jobs,omitempty"`
	Freshness
}

// End is how a job has ended.
type End struct {
	Outcome jobs.Outcome `json:"outcome"`
	Verdict jobs.Verdict `json:"verdict,omitempty"`
}

// Letters are dead letters without headers and payloads.
type Letters = RawLetters[bus.DeadLetter]

func (q *LetterQuery) listOf(loose bool) *list {
	l := &list{table: "letters", words: "letter_words", column: "place", high: math.MaxInt64, patient: true}
	l.terms = append(facets("code", q.Code, "kind", q.Kind, "job", q.Job, "receiver", q.Receiver), wordTerms(q.Q, loose)...)
	if !q.Since.IsZero() {
		l.add("j.at >= ?", micros(q.Since))
	}
	return l
}

func (p *projection) letters(ctx context.Context, q *LetterQuery, most int) (answer RawLetters[json.RawMessage], err error) {
	answer.Freshness = p.freshness(AskDeadLetters)
	if answer.Codes, err = p.codes(ctx); err != nil {
		return answer, err
	}
	var after *spot
	if q.After > 0 {
		after = &spot{key: int64(q.After)}
	}
	limit := cmp.Or(q.Limit, DefaultLimit)
	_, found, last, err := p.search(ctx, q.listOf, q.Q, after, limit+1)
	if err == nil && last != nil {
		err = ErrTooSlow
	}
	if err == nil {
		answer.Letters, err = p.records(ctx, letterRecord, found[:min(len(found), limit)], most)
	}
	if err == nil {
		answer.Jobs, err = p.succeeded(ctx, answer.Letters)
	}
	answer.More = len(answer.Letters) < len(found)
	return answer, err
}

// succeeded are the jobs of dead letters that have succeeded since.
func (p *projection) succeeded(ctx context.Context, letters []json.RawMessage) (map[string]End, error) {
	ends := map[string]End{}
	for _, record := range letters {
		var letter struct {
			JobID string `json:"job_id"`
		}
		if err := json.Unmarshal(record, &letter); err != nil || letter.JobID == "" {
			continue
		}
		var end End
		err := p.file.conn.QueryRowContext(ctx, "SELECT outcome, verdict FROM jobs WHERE id = ?", letter.JobID).Scan(&end.Outcome, &end.Verdict)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return nil, inFile(err)
		case end.Outcome.Success():
			ends[letter.JobID] = end
		}
	}
	return ends, nil
}

func (p *projection) codes(ctx context.Context) (map[string]int, error) {
	codes := map[string]int{}
	err := p.file.each(ctx, "SELECT code, n FROM codes WHERE n > 0", nil, func(scan func(...any) error) error {
		var code string
		var n int
		err := scan(&code, &n)
		codes[code] = n
		return err
	})
	return codes, err
}

// SummaryQuery says which jobs are counted, and by what.
type SummaryQuery struct {
	Query
	// By are the fields that jobs are counted by: hour, kind, lane, state, outcome, verdict. Default: state, outcome, verdict.
	By []string `json:"by,omitempty"`
	// Today asks for what became of credentials in the 24 hours before Until, or before now.
	Today bool `json:"today,omitempty"`
}

// fields are what jobs can be counted by.
func fields() []string { return []string{"hour", "kind", "lane", "state", "outcome", "verdict"} }

// maxGroups bounds an answer.
const maxGroups = 5000

func (q *SummaryQuery) check() error {
	for _, by := range q.By {
		if !slices.Contains(fields(), by) {
			return &Invalid{"by", "must be some of " + strings.Join(fields(), ", ")}
		}
	}
	return q.Query.check()
}

// Summary is how many jobs there are.
type Summary struct {
	Groups []Group `json:"groups"`
	More   bool    `json:"more"`   // There are more groups than an answer holds.
	Partly bool    `json:"partly"` // Not all jobs were counted: the latest 5,000 of those that words find, or fewer where they are hard to find.
	// OldestUrgent is when the oldest urgent job was accepted that has no outcome and is no rotation; zero: there is none.
	OldestUrgent time.Time       `json:"oldest_urgent,omitzero"`
	DeadLetters  map[string]int  `json:"dead_letters"` // By code.
	Rules        json.RawMessage `json:"rules,omitempty"`
	Today        *Today          `json:"today,omitempty"`
	Freshness
}

// Group is a number of jobs that have something in common.
type Group struct {
	Hour    time.Time    `json:"hour,omitzero"` // In which they were accepted.
	Kind    jobs.Kind    `json:"kind,omitempty"`
	Lane    jobs.Lane    `json:"lane,omitempty"`
	State   jobs.State   `json:"state,omitempty"`
	Outcome jobs.Outcome `json:"outcome,omitempty"`
	Verdict jobs.Verdict `json:"verdict,omitempty"`
	Jobs    int          `json:"jobs"`
}

func (p *projection) summary(ctx context.Context, q *SummaryQuery) (s Summary, err error) {
	s.Freshness = p.freshness(AskSummary)
	if s.Groups, s.More, s.Partly, err = p.groups(ctx, q); err != nil {
		return s, err
	}
	if s.DeadLetters, err = p.codes(ctx); err != nil {
		return s, err
	}
	var rules []byte
	err = p.file.conn.QueryRowContext(ctx, "SELECT value FROM facts WHERE name = 'rules'").Scan(&rules)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return s, inFile(err)
	}
	s.Rules = rules
	if q.Today {
		if s.Today, err = p.today(ctx, q.Until); err != nil {
			return s, err
		}
	}
	s.OldestUrgent, err = p.oldestUrgent(ctx)
	return s, err
}

// oldestUrgentQuery finds the oldest urgent job that is no rotation. The kinds of those are one JSON array.
const oldestUrgentQuery = "SELECT min(place) FROM jobs WHERE state <> 'done' AND lane = ? AND kind NOT IN (SELECT value FROM json_each(?))"

func (p *projection) oldestUrgent(ctx context.Context) (time.Time, error) {
	rotations, err := json.Marshal(jobs.RotatingKinds())
	if err != nil {
		return time.Time{}, fmt.Errorf("encoding the kinds that rotate: %w", err)
	}
	var place sql.NullInt64
	err = p.file.conn.QueryRowContext(ctx, oldestUrgentQuery, jobs.LaneUrgent, string(rotations)).Scan(&place)
	if err != nil || !place.Valid {
		return time.Time{}, inFile(err)
	}
	return accepted(place.Int64), nil
}

// groups counts jobs. Where only fields are asked for by which they are counted anyway, the counts are added up; else what is found.
func (p *projection) groups(ctx context.Context, q *SummaryQuery) (list []Group, more, partly bool, err error) {
	by := q.By
	if len(by) == 0 {
		by = []string{"state", "outcome", "verdict"}
	}
	var columns []string
	for _, field := range fields() {
		switch {
		case slices.Contains(by, field):
			columns = append(columns, "g."+field)
		case field == "hour":
			columns = append(columns, "0")
		default:
			columns = append(columns, "''")
		}
	}
	found, l := map[Group]int{}, q.counted(slices.Contains(by, "hour"))
	if l != nil {
		err = p.group(ctx, found, l.sql(strings.Join(columns, ", ")+", sum(n)")+groupBy+" ORDER BY 1 DESC, 7 DESC LIMIT "+strconv.Itoa(maxGroups+1), l.args)
	} else {
		partly, err = p.groupFound(ctx, q, found, strings.Join(columns, ", "))
	}
	list = []Group{}
	for g, n := range found {
		g.Jobs = n
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b Group) int { return cmp.Or(b.Hour.Compare(a.Hour), b.Jobs-a.Jobs) })
	if !slices.Contains(by, "hour") {
		for i := range list {
			list[i].Hour = time.Time{}
		}
	}
	if len(list) > maxGroups {
		return list[:maxGroups], true, partly, err
	}
	return list, false, partly, err
}

const groupBy = " GROUP BY 1, 2, 3, 4, 5, 6"

// groupFound counts the latest of the jobs that are found, and reports whether there may be more.
func (p *projection) groupFound(ctx context.Context, q *SummaryQuery, found map[Group]int, columns string) (partly bool, err error) {
	latest := q.Query
	latest.Sort = SortAccepted
	patient := func(loose bool) *list {
		l := latest.listOf(loose)
		l.patient = true
		return l
	}
	_, all, last, err := p.search(ctx, patient, q.Q+q.Target, nil, MostCounted)
	if err != nil {
		return false, err
	}
	from := "SELECT " + columns + ", count(*) FROM json_each(?) f CROSS JOIN jobs g ON g.place = f.value" + groupBy
	return last != nil || len(all) == MostCounted, p.group(ctx, found, from, []any{placesOf(all)})
}

// group adds the numbers of jobs that a statement finds.
func (p *projection) group(ctx context.Context, found map[Group]int, statement string, args []any) error {
	return p.file.each(ctx, statement, args, func(scan func(...any) error) error {
		var g Group
		var hour int64
		var n int
		err := scan(&hour, &g.Kind, &g.Lane, &g.State, &g.Outcome, &g.Verdict, &n)
		g.Hour = time.Unix(hour*3600, 0).UTC()
		found[g] += n
		return err
	})
}

// counts are rows of hours.
type counts struct {
	where []string
	args  []any
}

func (c *counts) add(condition string, arg any) {
	c.where, c.args = append(c.where, condition), append(c.args, arg)
}

func (c *counts) sql(columns string) string {
	return "SELECT " + columns + " FROM hours g WHERE " + strings.Join(c.where, " AND ")
}

// counted are the counts that are added up, by the hour if that is wanted; nil: those jobs are counted that are found.
func (q *Query) counted(hourly bool) *counts {
	l := &counts{}
	whole := func(t time.Time) bool { return t.IsZero() || t.Truncate(time.Hour).Equal(t) }
	if len(q.Kinds)+len(q.Accounts) > 0 || q.Account+q.RequestedBy+q.Policy+q.Event+q.Target+q.Q+string(q.Origin) != "" || q.Watched || !whole(q.Since) || !whole(q.Until) {
		return nil
	}
	if hourly || !q.Since.IsZero() || !q.Until.IsZero() {
		l.add("g.hour > ?", allHours)
	} else {
		l.add("g.hour = ?", allHours)
	}
	for column, value := range map[string]string{
		"kind": string(q.Kind), "lane": string(q.Lane), "state": string(q.State), "outcome": string(q.Outcome), "verdict": string(q.Verdict),
	} {
		if value != "" {
			l.add("g."+column+" = ?", value)
		}
	}
	if !q.Since.IsZero() {
		l.add("g.hour >= ?", micros(q.Since)/time.Hour.Microseconds())
	}
	if !q.Until.IsZero() {
		l.add("g.hour < ?", micros(q.Until)/time.Hour.Microseconds())
	}
	return l
}
