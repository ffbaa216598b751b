package search

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"rekey/internal/jobs"
)

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
	err = p.file.each(ctx, "SELECT place, at, ending, proof FROM endings WHERE job = ? ORDER BY place LIMIT ?", []any{id, MaxLimit}, func(scan func(...any) error) error {
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
