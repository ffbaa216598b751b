package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"rekey/internal/bus"
	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/names"
	"rekey/internal/stores"
	"rekey/internal/wire"
)

// Foresight says of dead letters what a replay of them would come to.
type Foresight struct {
	client    *Client
	evaluator *wire.Evaluator // Nil where no worker has shown its rules, as the next one.
	accounts  map[string]bool
}

// Foresee prepares for questions about dead letters. What may not be read is not known.
func (c *Client) Foresee(ctx context.Context) (*Foresight, error) {
	f := &Foresight{client: c}
	var evaluator *wire.Evaluator
	var rules stores.Rules
	err := c.attempt(ctx, rulesTimeout, func(ctx context.Context) (err error) {
		evaluator, rules, err = c.FleetEvaluator(ctx)
		return err
	})
	if errors.Is(err, jobs.ErrNotFound) || isForbidden(err) {
		return f, nil
	}
	f.evaluator, f.accounts = evaluator, map[string]bool{}
	for _, account := range rules.Accounts {
		f.accounts[account.Name] = true
	}
	return f, err
}

// Same is why the replay of a dead letter would fail the same way; "" where that is not known.
func (f *Foresight) Same(ctx context.Context, number uint64) (string, error) {
	letter, err := f.client.DeadLetter(ctx, number)
	switch {
	case errors.Is(err, jobs.ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	case letter.Subject == f.client.conn.Names().DeadEvent():
		err := bus.NewOriginals(f.client.conn).Unreadable(ctx, letter.Event)
		if errors.Is(err, bus.ErrUnreadable) {
			return err.Error(), nil
		}
		return f.event(ctx, &letter), err
	case f.client.IsJobLetter(&letter):
		return f.job(ctx, letter.JobID)
	}
	return "", nil
}

// event has the rules judge an event once more. One of which the letter does not have every byte is not judged.
func (f *Foresight) event(ctx context.Context, letter *bus.DeadLetter) string {
	if letter.Code == string(jobs.RejectIdentity) && strings.Contains(letter.Reason, event.MarkMissing) {
		return event.MarkMissing + ", and a replay adds none"
	}
	header := nats.Header(letter.Header)
	for _, partly := range []string{names.HeaderRedacted, names.HeaderTruncated, names.HeaderSealedEvent} {
		if f.evaluator == nil || header.Get(partly) != "" {
			return ""
		}
	}
	own := nats.Header{}
	for name, values := range header {
		if !event.IsOwn(name) {
			own[name] = values
		}
	}
	m := event.Message{Subject: letter.Event.Subject, Header: own, Data: []byte(letter.Payload), Seq: letter.Event.Seq, At: f.client.Now()}
	for _, problem := range f.evaluator.Evaluate(ctx, "", m).Problems {
		if first, _, _ := strings.Cut(problem, "\n"); strings.Contains(letter.Reason, first) {
			return first
		}
	}
	return ""
}

// job looks at what a replay of a job does not change: its account, and the call that it makes.
func (f *Foresight) job(ctx context.Context, id string) (string, error) {
	record, err := f.client.Job(ctx, id)
	if errors.Is(err, jobs.ErrNotFound) {
		return "its job is not in the ledger any more", nil
	}
	if err != nil || record.Outcome.Success() || len(record.Attempts) == 0 {
		return "", err
	}
	if f.accounts != nil && !f.accounts[record.Account] {
		return "no worker has the account " + record.Account, nil
	}
	last := record.Attempts[len(record.Attempts)-1]
	if last.Status == 0 { // The API was not called: what the worker found may be mended.
		return "", nil
	}
	switch last.Reason {
	case jobs.ReasonInvalid, jobs.ReasonNotFound:
		return fmt.Sprintf("the same call is made once more, and the API answered it with HTTP %d %s", last.Status, last.ErrorCode), nil
	default:
		return "", nil
	}
}
