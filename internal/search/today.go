package search

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"
)

// mostTimed is how many jobs a day's times are made of: the latest.
const mostTimed = MostCounted

// Today is what became of credentials in 24 hours, and which of them are alive now.
type Today struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	Alive Alive     `json:"alive"`
	// Dead are the times from when an event was accepted to its job's success, unless the verdict is still_alive; Proven to
	// the verdict verified or recorded.
	Dead   Times  `json:"dead"`
	Proven Times  `json:"proven"`
	Hours  []Hour `json:"hours"` // In which something ended, the latest first.
}

// Alive are jobs whose credentials are not known to be dead. Dry runs are left out.
type Alive struct {
	Works   Some `json:"works"`    // The job succeeded, and the verdict is still_alive or reverted.
	Seen    Some `json:"seen"`     // The job succeeded, the verdict is pending, and a read shows that it works.
	Open    Some `json:"open"`     // The job has no outcome.
	GivenUp Some `json:"given_up"` // It was refused or exhausted in these 24 hours, no later job of its kind had success on its target, and its dead letter is not dropped.
}

// Some is a number of jobs.
type Some struct {
	Jobs   int       `json:"jobs"`
	Most   bool      `json:"jobs_is_least"`        // There are at least so many, and Oldest is among these.
	Oldest time.Time `json:"oldest,omitzero"`      // When the first of them was accepted.
	Job    string    `json:"oldest_job,omitempty"` // Its id.
}

// Times are how long jobs took.
type Times struct {
	Jobs     int    `json:"jobs"`
	Latest   bool   `json:"latest_only"` // There are more: these are the latest.
	MedianMS int64  `json:"median_ms"`
	WorstMS  int64  `json:"worst_ms"`
	Worst    string `json:"worst_job,omitempty"` // The id of the one that took longest.
}

// Hour is what ended within an hour.
type Hour struct {
	Hour   time.Time `json:"hour"`
	Dead   Times     `json:"dead"`
	Proven Times     `json:"proven"`
}

// ended is a job that ended.
type ended struct{ place, at int64 }

func (e ended) took() int64 { return max(e.at-e.place/places, 0) }

func (e ended) hour() int64 { return e.at / time.Hour.Microseconds() }

func (p *projection) today(ctx context.Context, until time.Time) (*Today, error) {
	if until.IsZero() {
		until = p.conn.Clock().Now()
	}
	t := &Today{Since: until.Add(-24 * time.Hour).UTC(), Until: until.UTC(), Hours: []Hour{}}
	hours := map[int64]*Hour{}
	at := func(hour int64) *Hour {
		if hours[hour] == nil {
			hours[hour] = &Hour{Hour: time.Unix(hour*3600, 0).UTC()}
		}
		return hours[hour]
	}
	alive, err := p.alive(ctx, t.Since, t.Until)
	t.Alive, err = alive, errors.Join(err,
		p.times(ctx, t, "dead", &t.Dead, func(hour int64) *Times { return &at(hour).Dead }),
		p.times(ctx, t, "proven", &t.Proven, func(hour int64) *Times { return &at(hour).Proven }),
	)
	for _, h := range hours {
		t.Hours = append(t.Hours, *h)
	}
	slices.SortFunc(t.Hours, func(a, b Hour) int { return b.Hour.Compare(a.Hour) })
	return t, err
}

func timesQuery(column string) string {
	return strings.ReplaceAll("SELECT place, ENDED FROM jobs WHERE ENDED > 0 AND ENDED >= ? AND ENDED < ? ORDER BY ENDED DESC LIMIT ?", "ENDED", column)
}

// times reads how long the jobs took whose end is in a column, on the whole and by the hour.
func (p *projection) times(ctx context.Context, t *Today, column string, whole *Times, of func(hour int64) *Times) error {
	var list []ended
	err := p.file.each(ctx, timesQuery(column), []any{micros(t.Since), micros(t.Until), mostTimed + 1}, func(scan func(...any) error) error {
		var e ended
		err := scan(&e.place, &e.at)
		list = append(list, e)
		return err
	})
	more := len(list) > mostTimed
	list = list[:min(len(list), mostTimed)]
	for begin := 0; begin < len(list) && err == nil; {
		hour, end := list[begin].hour(), begin+1
		for end < len(list) && list[end].hour() == hour {
			end++
		}
		err = p.timesOf(ctx, of(hour), list[begin:end], more && end == len(list))
		begin = end
	}
	return errors.Join(err, p.timesOf(ctx, whole, list, more))
}

// timesOf sorts a list by how long its jobs took.
func (p *projection) timesOf(ctx context.Context, t *Times, list []ended, more bool) (err error) {
	if t.Jobs, t.Latest = len(list), more; len(list) == 0 {
		return nil
	}
	slices.SortFunc(list, func(a, b ended) int { return cmp.Compare(a.took(), b.took()) })
	worst := list[len(list)-1]
	t.MedianMS, t.WorstMS = (list[(len(list)-1)/2].took()+list[len(list)/2].took())/2000, worst.took()/1000
	t.Worst, err = p.idAt(ctx, worst.place)
	return err
}

// What some counts.
const (
	isAlive   = "alive > '' AND alive = ?"
	isGivenUp = "failed > 0 AND failed >= ? AND failed < ?"
)

func someQuery(condition string) string {
	return "SELECT count(*), min(place) FROM (SELECT place FROM jobs WHERE " + condition + " ORDER BY place LIMIT ?)"
}

// alive are the credentials that are not known to be dead now, and those that were given up between two moments.
func (p *projection) alive(ctx context.Context, since, until time.Time) (a Alive, err error) {
	err = errors.Join(
		p.some(ctx, &a.Works, isAlive, aliveWorks), p.some(ctx, &a.Seen, isAlive, aliveSeen), p.some(ctx, &a.Open, isAlive, aliveOpen),
		p.some(ctx, &a.GivenUp, isGivenUp, micros(since), micros(until)),
	)
	return a, err
}

// some counts jobs, up to MostCounted.
func (p *projection) some(ctx context.Context, s *Some, condition string, args ...any) error {
	var oldest sql.NullInt64
	err := p.file.conn.QueryRowContext(ctx, someQuery(condition), append(args, MostCounted+1)...).Scan(&s.Jobs, &oldest)
	if err != nil || !oldest.Valid {
		return inFile(err)
	}
	s.Most, s.Jobs, s.Oldest = s.Jobs > MostCounted, min(s.Jobs, MostCounted), accepted(oldest.Int64)
	s.Job, err = p.idAt(ctx, oldest.Int64)
	return err
}

func (p *projection) idAt(ctx context.Context, place int64) (id string, err error) {
	err = p.file.conn.QueryRowContext(ctx, "SELECT id FROM jobs WHERE place = ?", place).Scan(&id)
	return id, inFile(err)
}
