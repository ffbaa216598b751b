package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/backoff"
	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/search"
)

// Times of a Wait.
const (
	// unattendedAfter is how long no worker may have taken what is waited for before that is said, and unattendedEvery
	// how often it is said again.
	unattendedAfter = 5 * time.Second
	unattendedEvery = time.Minute
	// A fleet that does not run is not asked many times a second.
	waitPauseFirst, waitPauseMost = 100 * time.Millisecond, 2 * time.Second
	// fleetTimeout bounds the look at the fleet, and lettersTimeout that at the dead letters, which may be many.
	fleetTimeout, lettersTimeout = 2 * time.Second, 10 * time.Second
)

// NotAcceptedError says that a request became no job: it is among the dead letters.
type NotAcceptedError struct {
	Letter bus.DeadLetter
}

// Error says why, and which dead letter it is.
func (e *NotAcceptedError) Error() string {
	return fmt.Sprintf("the request was not accepted: %s (dead letter %d)", e.Letter.Reason, e.Letter.Number)
}

// Wait is what is waited for: a job, which may not exist yet.
type Wait struct {
	JobID string
	// Stored says that the event is in the stream: a job or a dead letter comes of it.
	Stored bool
	// Meant says that a dry run of the same identity, which may be there already, is not what is waited for.
	Meant bool
	// After is the last dead letter that there was before the event, as LastLetter has it: what those before it say is about
	// earlier requests. 0 looks at all.
	After uint64
	// Proof says that the verdict on the target is waited for, too; not where the job has failed, or its target is not looked at.
	Proof bool
	// Progress is called for every change of the job. Optional.
	Progress func(jobs.PublicRecord)
	// Unattended is called when no worker has taken the event or, with taken, the job for a while. Optional.
	Unattended func(f bus.Fleet, taken bool)
}

// Until is what of a job is waited for. The set is closed.
type Until string

// What can be waited for.
const (
	UntilOutcome Until = "outcome"
	UntilProof   Until = "proof" // The verdict on the target.
)

// Untils lists all that can be waited for.
func Untils() []Until { return []Until{UntilOutcome, UntilProof} }

// Over reports whether what is waited for has come.
func (w *Wait) Over(r *jobs.PublicRecord) bool {
	if w.Proof {
		return r.Concluded()
	}
	return r.Done()
}

// LastLetter is the number of the last dead letter, for Wait.After; 0 where they may not be read.
func (c *Client) LastLetter(ctx context.Context) (last uint64, err error) {
	err = c.lookAtLetters(ctx, func(ctx context.Context, letters *bus.DeadLetters) error {
		last, err = letters.Last(ctx)
		return err
	})
	if isForbidden(err) {
		return 0, nil
	}
	return last, err
}

// lookAtLetters opens the dead letters. The error is a *bus.ForbiddenError where they may not be read.
func (c *Client) lookAtLetters(ctx context.Context, look func(context.Context, *bus.DeadLetters) error) error {
	return c.attempt(ctx, lettersTimeout, func(ctx context.Context) error {
		letters, err := bus.OpenDeadLetters(ctx, c.conn)
		if err != nil {
			return err
		}
		return look(ctx, letters)
	})
}

func isForbidden(err error) bool {
	_, ok := errors.AsType[*bus.ForbiddenError](err)
	return ok
}

// Fleet is what can be seen of the workers. The error says that it may not be seen, or is not known.
func (c *Client) Fleet(ctx context.Context) (bus.Fleet, error) {
	fleet, err := c.consumers(ctx)
	if err == nil && fleet.Attendance == bus.Unattended {
		// Where nothing listens, the server says so at once.
		_, err := c.Workers(ctx)
		fleet.Silent = errors.Is(err, search.ErrNoWorker) && errors.Is(err, context.DeadlineExceeded)
	}
	return fleet, err
}

// lastHeard says when something was last seen of the workers; "" where that is not known.
func lastHeard(f bus.Fleet) string {
	if f.Heard.IsZero() {
		return ""
	}
	return "; a worker took or settled something last at " + f.Heard.UTC().Format(time.RFC3339)
}

// consumers is what the consumers show of the workers.
func (c *Client) consumers(ctx context.Context) (fleet bus.Fleet, err error) {
	err = c.attempt(ctx, fleetTimeout, func(ctx context.Context) error {
		fleet, err = c.conn.Fleet(ctx)
		return err
	})
	return fleet, err
}

// Await waits until a job has its outcome or, where that is asked for, its verdict, and returns its record. The error is a *NotAcceptedError when its request ended
// in the dead letters, and jobs.ErrNotFound when there is no such job and none can come any more.
func (c *Client) Await(ctx context.Context, w Wait) (jobs.PublicRecord, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var reminder sync.WaitGroup
	defer reminder.Wait()
	defer cancel(nil)
	var stage atomic.Int32
	if w.Unattended != nil {
		reminder.Go(func() { c.remind(ctx, &w, &stage) })
	}
	known, err := c.awaitRecord(ctx, &w)
	if err != nil {
		return jobs.PublicRecord{}, err
	}
	stage.Store(stageQueued)
	complete := errors.New("complete")
	var last jobs.PublicRecord
	err = c.ledger.Watch(ctx, known.JobID, func(r jobs.PublicRecord) {
		if last = r; r.State != jobs.StateQueued || r.AttemptCount > 0 {
			stage.Store(stageAttended)
		}
		if w.Progress != nil {
			w.Progress(r)
		}
		if w.Over(&r) {
			cancel(complete)
		}
	})
	if errors.Is(err, complete) {
		return last, nil
	}
	return last, err
}

// How far a worker has come with what is waited for.
const (
	stagePublished int32 = iota // The event is not taken in.
	stageQueued                 // The job exists, and is not begun.
	stageAttended               // A worker has the job, or had it.
)

// remind says again and again that no worker has taken what is waited for, until one has.
func (c *Client) remind(ctx context.Context, w *Wait, stage *atomic.Int32) {
	timer := time.NewTimer(unattendedAfter)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		// What is not known is not said.
		if fleet, err := c.Fleet(ctx); stage.Load() != stageAttended && ctx.Err() == nil {
			if err != nil {
				fleet = bus.Fleet{}
			}
			w.Unattended(fleet, stage.Load() == stageQueued)
		}
		timer.Reset(unattendedEvery)
	}
}

// awaitRecord waits until the job, or the one that it was joined into, has a record.
func (c *Client) awaitRecord(ctx context.Context, w *Wait) (jobs.PublicRecord, error) {
	begun, blind := time.Now(), false
	for n := 1; ; n++ {
		record, err := c.ledger.Find(ctx, w.JobID)
		if !errors.Is(err, jobs.ErrNotFound) && !(err == nil && w.Meant && record.DryRun) {
			return record, err
		}
		if !blind {
			var letter bus.DeadLetter
			letter, w.After, err = c.requestLetter(ctx, w.JobID, w.After)
			if err == nil {
				return jobs.PublicRecord{}, &NotAcceptedError{Letter: letter}
			}
			if blind = isForbidden(err); !blind && !errors.Is(err, jobs.ErrNotFound) {
				return jobs.PublicRecord{}, err
			}
		}
		if !w.Stored && c.nothingComes(ctx, time.Since(begun)) {
			return c.ledger.Find(ctx, w.JobID) // It may have come between the two looks.
		}
		if err := backoff.Sleep(ctx, backoff.Delay(waitPauseFirst, waitPauseMost, n)); err != nil {
			return jobs.PublicRecord{}, err
		}
	}
}

// nothingComes reports whether no event is left from which a job may come. Where that may not be seen, it is given a while.
func (c *Client) nothingComes(ctx context.Context, waited time.Duration) bool {
	fleet, err := c.consumers(ctx)
	if err != nil {
		return waited > unattendedAfter
	}
	return fleet.Events == 0
}

// requestLetter is the latest dead letter behind a number of the request for a job, without headers and payload, or
// jobs.ErrNotFound. end is the last one that there is.
func (c *Client) requestLetter(ctx context.Context, jobID string, after uint64) (letter bus.DeadLetter, end uint64, err error) {
	err = c.lookAtLetters(ctx, func(ctx context.Context, letters *bus.DeadLetters) error {
		letter, end, err = letters.Search(ctx, after, func(d bus.DeadLetter) bool { return d.Subject == c.conn.Names().DeadEvent() && d.JobID == jobID })
		return err
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = jobs.ErrNotFound // No worker has made it yet.
	}
	return letter, end, err
}

// RequestLetter is the dead letter of the request for a job that was never made, or jobs.ErrNotFound, also where the dead
// letters may not be read.
func (c *Client) RequestLetter(ctx context.Context, jobID string) (bus.DeadLetter, error) {
	letter, _, err := c.requestLetter(ctx, jobID, 0)
	if isForbidden(err) {
		return letter, fmt.Errorf("%w; whether its request is a dead letter is not known: %s", jobs.ErrNotFound, err.Error())
	}
	if err != nil {
		return letter, err
	}
	letters, err := bus.OpenDeadLetters(ctx, c.conn)
	if err != nil {
		return letter, err
	}
	return letters.Show(ctx, letter.Number)
}
