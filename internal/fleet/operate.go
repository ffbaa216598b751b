package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nuid"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/stores"
)

// ErrNotReplayable says that a dead letter cannot be replayed.
var ErrNotReplayable = errors.New("cannot be replayed")

// Replayed is what became of a dead letter that was replayed or dropped.
type Replayed struct {
	Number   uint64 `json:"number"`
	JobID    string `json:"job_id,omitempty"`    // The job that is back at work, or that has succeeded.
	EventSeq uint64 `json:"event_seq,omitempty"` // The present sequence of the event.
	Receiver string `json:"receiver,omitempty"`  // The receiver that the notification is sent to again.
	Nothing  bool   `json:"nothing,omitempty"`   // The job had succeeded meanwhile: no call is made.
	Dropped  bool   `json:"dropped,omitempty"`   // It was not replayed but deleted.
	Error    string `json:"error,omitempty"`
}

// Retry queues a job once more.
func (c *Client) Retry(ctx context.Context, id string, op jobs.Operation) (jobs.PublicRecord, error) {
	known, err := c.ledger.Find(ctx, id)
	if err != nil {
		return jobs.PublicRecord{}, err
	}
	rec, err := c.Operator().Retry(ctx, known.JobID, op)
	return rec.Public(), err
}

// Cancel asks a job to end before its next attempt.
func (c *Client) Cancel(ctx context.Context, id string, op jobs.Operation) (jobs.PublicRecord, error) {
	known, err := c.ledger.Find(ctx, id)
	if err != nil {
		return jobs.PublicRecord{}, err
	}
	rec, err := c.Operator().Cancel(ctx, known.JobID, op)
	return rec.Public(), err
}

// StopWatch ends the watch of a job's target.
func (c *Client) StopWatch(ctx context.Context, id string, op jobs.Operation) (jobs.PublicRecord, error) {
	known, err := c.ledger.Find(ctx, id)
	if err != nil {
		return jobs.PublicRecord{}, err
	}
	rec, err := c.Operator().StopWatch(ctx, known.JobID, op)
	return rec.Public(), err
}

// CheckNow has a worker look at a watched target at once.
func (c *Client) CheckNow(ctx context.Context, id string, op jobs.Operation) (jobs.PublicRecord, error) {
	known, err := c.ledger.Find(ctx, id)
	if err != nil {
		return jobs.PublicRecord{}, err
	}
	rec, err := c.Operator().CheckNow(ctx, known.JobID, op, bus.NewAnnouncer(c.conn, nil, nil, nil))
	return rec.Public(), err
}

// Operator is what changes jobs for an operator.
func (c *Client) Operator() *jobs.Operator {
	return jobs.NewOperator(c.ledger, c.ledger.Targets(), bus.NewQueue(c.conn), originals{c}, c.conn.Clock().Now)
}

// Replay repeats what a dead letter is about and takes the letter out of the
// stream: a job is retried, an event is published once more under its identity, a notification is
// sent again. What has succeeded meanwhile is not done again.
func (c *Client) Replay(ctx context.Context, number uint64, op jobs.Operation) (Replayed, error) {
	letters, err := bus.OpenDeadLetters(ctx, c.conn)
	if err != nil {
		return Replayed{Number: number}, err
	}
	letter, err := letters.Show(ctx, number)
	if err != nil {
		return Replayed{Number: number}, fmt.Errorf("dead letter %d: %w", number, err)
	}
	done, err := c.putBack(ctx, letter, op)
	if err != nil {
		return done, fmt.Errorf("dead letter %d: %w", number, err)
	}
	// The letter goes last: after a crash in between it is replayed again, and the ledger
	// knows the job.
	if err := letters.Delete(ctx, number); err != nil && !errors.Is(err, jobs.ErrNotFound) {
		return done, err
	}
	return done, nil
}

func (c *Client) putBack(ctx context.Context, letter bus.DeadLetter, op jobs.Operation) (Replayed, error) {
	done := Replayed{Number: letter.Number, JobID: letter.JobID}
	switch {
	case letter.Subject == c.conn.Names().DeadNotification():
		done.Receiver = letter.Receiver
		err := c.conn.Renotify(ctx, letter)
		if errors.Is(err, bus.ErrNoReceiver) || errors.Is(err, bus.ErrNotWhole) {
			return done, fmt.Errorf("%w: %w", err, ErrNotReplayable)
		}
		return done, err
	case letter.JobID != "" && letter.Subject != c.conn.Names().DeadEvent(): // That of an event names a job that was not made.
		_, err := c.Operator().Retry(ctx, letter.JobID, op)
		done.Nothing = errors.Is(err, jobs.ErrSucceeded)
		if done.Nothing || jobs.UnderWay(err) {
			err = nil
		}
		return done, err
	case letter.Subject != c.conn.Names().DeadEvent():
		return done, ErrNotReplayable
	}
	seq, err := bus.NewOriginals(c.conn).ReplayLetter(ctx, letter)
	if errors.Is(err, jobs.ErrNotFound) {
		return done, fmt.Errorf("the event is not kept any more: %w", ErrNotReplayable)
	}
	if errors.Is(err, bus.ErrUnreadable) {
		return done, fmt.Errorf("%w: %w", ErrNotReplayable, err)
	}
	if err != nil {
		return done, err
	}
	done.EventSeq = seq
	return done, c.ledger.Note(ctx, letterKey(letter), op)
}

// IsJobLetter reports whether a dead letter is about a job that there is.
func (c *Client) IsJobLetter(letter *bus.DeadLetter) bool {
	return letter.JobID != "" && letter.Subject != c.conn.Names().DeadNotification() && letter.Subject != c.conn.Names().DeadEvent()
}

// ClassOf is the class of the event of a dead letter.
func (c *Client) ClassOf(letter *bus.DeadLetter) string {
	return c.conn.Names().EventClass(letter.Event.Subject)
}

// Drop takes a dead letter out of the stream and records who did it and why.
func (c *Client) Drop(ctx context.Context, number uint64, op jobs.Operation) error {
	letters, err := bus.OpenDeadLetters(ctx, c.conn)
	if err != nil {
		return err
	}
	letter, err := letters.Show(ctx, number)
	if err != nil {
		return fmt.Errorf("dead letter %d: %w", number, err)
	}
	if c.IsJobLetter(&letter) {
		err = c.Operator().Drop(ctx, letter.JobID, letter.At, op)
	} else {
		err = c.ledger.Note(ctx, letterKey(letter), op)
	}
	if err != nil && !errors.Is(err, jobs.ErrNotFound) {
		return err
	}
	return letters.Delete(ctx, number)
}

// letterKey names a dead letter that belongs to no job.
func letterKey(letter bus.DeadLetter) string {
	return fmt.Sprintf("%d-%d", letter.Number, letter.At.Unix())
}

// originals gives back the parameters of jobs whose secret only the original event has.
type originals struct{ client *Client }

// Params implements jobs.Originals. What a policy took out of an event, the rules that the fleet
// goes by now are asked for once more.
func (o originals) Params(ctx context.Context, rec *jobs.Record) (jobs.Params, error) {
	c := o.client
	event, err := bus.NewOriginals(c.conn).Event(ctx, rec.Events[0].EventRef)
	if err != nil {
		return jobs.Params{}, err
	}
	if rec.Policy == "" {
		return event.Request.Params, nil
	}
	evaluator, _, err := c.FleetEvaluator(ctx)
	if errors.Is(err, jobs.ErrNotFound) {
		return jobs.Params{}, errors.New("no worker has shown its policies yet")
	}
	if err != nil {
		return jobs.Params{}, err
	}
	for _, planned := range evaluator.Rules.Plan(ctx, event, event.At).Jobs {
		if planned.Job.Kind == rec.Kind && planned.Job.Account == rec.Account && planned.Job.Target() == rec.Target {
			return planned.Job.Params, nil
		}
	}
	return jobs.Params{}, fmt.Errorf("policy %s does not find its token in event %d any more; submit the token again", rec.Policy, event.Seq)
}

// Rotations are the latest jobs of all rotations that a worker has loaded, by the names of the rotations; nil where there was none.
func (c *Client) Rotations(ctx context.Context) (map[string]*jobs.PublicRecord, error) {
	rules, err := stores.LoadRules(ctx, c.conn)
	if err != nil && !errors.Is(err, jobs.ErrNotFound) {
		return nil, err
	}
	found := map[string]*jobs.PublicRecord{}
	for name := range rules.Rotations {
		r, err := c.rotation(ctx, name)
		if err != nil && !errors.Is(err, jobs.ErrNotFound) {
			return nil, err
		}
		if found[name] = nil; err == nil {
			found[name] = &r
		}
	}
	return found, nil
}

// Rotation is the latest job of a rotation, or jobs.ErrNotFound, which says whether there is such a rotation.
func (c *Client) Rotation(ctx context.Context, name string) (jobs.PublicRecord, error) {
	r, err := c.rotation(ctx, name)
	if !errors.Is(err, jobs.ErrNotFound) {
		return r, err
	}
	if _, err := c.RotationKind(ctx, name); err != nil {
		return r, err
	}
	return r, fmt.Errorf("rotation %s has not run yet: %w", name, jobs.ErrNotFound)
}

// RotationKind is the kind of the jobs of a rotation, or jobs.ErrNotFound, which says which rotations there are.
func (c *Client) RotationKind(ctx context.Context, name string) (jobs.Kind, error) {
	rules, err := stores.LoadRules(ctx, c.conn)
	if err != nil && !errors.Is(err, jobs.ErrNotFound) {
		return "", err
	}
	if r, known := rules.Config("").RotationRules()[name]; known {
		return r.Kind, nil
	}
	if len(rules.Rotations) == 0 {
		return "", fmt.Errorf("rotation %s: %w; the workers have none", name, jobs.ErrNotFound)
	}
	return "", fmt.Errorf("rotation %s: %w; the workers have %s", name, jobs.ErrNotFound, strings.Join(slices.Sorted(maps.Keys(rules.Rotations)), ", "))
}

func (c *Client) rotation(ctx context.Context, name string) (jobs.PublicRecord, error) {
	rec, err := jobs.FindRotation(ctx, c.ledger, c.ledger.Targets(), name)
	if err != nil {
		return jobs.PublicRecord{}, fmt.Errorf("looking up rotation %s: %w", name, err)
	}
	return rec.Public(), nil
}

// RunRotation asks for a rotation in the name of a person, and returns the id of its job: of the unfinished one where there is one, which the request joins.
func (c *Client) RunRotation(ctx context.Context, name string, op jobs.Operation) (id string, err error) {
	kind, err := c.RotationKind(ctx, name)
	if err != nil {
		return "", err
	}
	request := map[string]any{
		"kind": string(kind), "params": map[string]any{kinds.ParamRotation: name}, "requested_by": op.By, "reason": op.Reason,
	}
	if err := c.CheckRequest(ctx, request); err != nil {
		return "", err
	}
	latest, err := c.rotation(ctx, name)
	if err != nil && !errors.Is(err, jobs.ErrNotFound) {
		return "", err
	}
	done, err := c.Submit(ctx, "rekey/console", nuid.Next(), request)
	if latest.JobID != "" && !latest.Done() {
		return latest.JobID, err
	}
	return done.JobID, err
}

// madeTimeout is how long AwaitMade waits: a worker makes a job within milliseconds.
const madeTimeout = 3 * time.Second

// AwaitMade waits a moment until there is the job of a request that was stored, or the dead letter of it. A later look at the job says what there is.
func (c *Client) AwaitMade(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, madeTimeout)
	defer cancel()
	_, _ = c.awaitRecord(ctx, &Wait{JobID: id, Stored: true}) //nolint:errcheck // As above.
}
