package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// Action is what a notification does to the incident of its target at a pager. The set is closed.
type Action string

// The actions, under the names that PagerDuty has for them.
const (
	ActionNone  Action = ""
	ActionOpen  Action = "trigger"
	ActionClose Action = "resolve"
)

const (
	// unhurried is how old a success is that has waited behind others: what it closes may be under way at another worker.
	unhurried = 10 * time.Second
	// lookAgain is when such a success looks for its incident once more.
	lookAgain = 5 * time.Second
)

// incidentKey names the incident of the result's target. Jobs that do the same to the same target share it: a later job closes what an
// earlier one opened. The account belongs to it where only that account can end the target.
func (r *Result) incidentKey() string {
	rec := &r.record
	text := r.Source + "\x00" + string(rec.Kind) + "\x00" + rec.Target
	if kinds.Of(rec.Kind).PerAccount {
		text += "\x00" + rec.Account
	}
	if rec.DryRun {
		text += "\x00dry run"
	}
	sum := sha256.Sum256([]byte(text))
	return "rekey-" + hex.EncodeToString(sum[:16])
}

// action is what a result may do to an incident, as far as its receiver wants to know of it.
func (t *Receiver) action(r *Result) Action {
	rec := &r.record
	switch {
	case rec.Rehearsed():
		return ActionNone
	case r.isVerdict() && rec.Verdict().Dead(),
		r.isVerdict() && rec.Verdict() == jobs.VerdictAccepted && !t.Filter.Matches(rec, true),
		!r.isVerdict() && rec.Outcome.Success() && rec.Verdict() != jobs.VerdictPending:
		if t.Filter.concerns(rec) {
			return ActionClose
		}
	case !r.isVerdict() && rec.Outcome.Success(): // Its verdict follows.
	case t.Filter.Matches(rec, r.isVerdict()):
		return ActionOpen
	}
	return ActionNone
}

// closes reports whether a result is reason enough to close an incident that this opened: what was seen to be alive must be seen dead.
func (r *Result) closes(opened string) bool {
	alive := jobs.Verdict(opened).Alive()
	return !alive || r.isVerdict() && r.record.Verdict().Dead()
}

// incident decides what a notification does to the incident of its target, and records it before it is sent: the order of the
// stream counts, whatever the order in which workers and retries come to it. Nothing to do is ActionNone; a settlement with a
// delay says that another notification may be under way.
func (c *Deliverer) incident(ctx context.Context, d *Delivery, r *Result) (Action, jobs.Settlement, error) {
	action := c.Receiver.action(r)
	if action == ActionNone { // An operator has it sent once more, whatever the filter says by now.
		action = ActionClose
		if !r.record.Outcome.Success() || r.record.Verdict().Alive() {
			action = ActionOpen
		}
	}
	key := c.keyOfIncident(r)
	have, err := c.load(ctx, key)
	if err != nil {
		return ActionNone, jobs.Settlement{}, err
	}
	now := c.Now()
	mine := !d.Again && have.Sequence != 0 && have.Sequence == d.Sequence
	switch {
	case have.RetryAt.After(now) && !mine:
		return ActionNone, jobs.Settlement{Delay: have.RetryAt.Sub(now)}, nil
	case d.Again || mine: // Whatever came since, or it is recorded as it is.
	case have.Sequence > d.Sequence && (action == ActionClose || have.Opened == ""):
		return ActionNone, jobs.Settlement{Done: true}, nil // A later result has decided.
	case action == ActionClose && (have.Opened == "" || !r.closes(have.Opened)):
		if have.Sequence == 0 && d.Count == 1 && now.Sub(d.Since) > unhurried {
			return ActionNone, jobs.Settlement{Delay: lookAgain}, nil
		}
		return ActionNone, jobs.Settlement{Done: true}, nil
	}
	switch {
	case action == ActionClose:
		have.Opened = ""
	case !jobs.Verdict(have.Opened).Alive():
		have.Opened = r.what() // What was seen alive stays the reason until it is seen dead.
	}
	have.Sequence, have.RetryAt = max(have.Sequence, d.Sequence), now.Add(c.Receiver.Timeout).UTC()
	_, err = c.Store.Save(ctx, key, have.State, have.revision)
	return action, jobs.Settlement{}, err
}

func (c *Deliverer) keyOfIncident(r *Result) string {
	return "incident." + c.Receiver.Name + "." + r.incidentKey()
}

// release lets the next notification of an incident go at once, since this one is not under way any more: many that waited for each other would
// take the places of those of other incidents. What another one has noted meanwhile stays.
func (c *Deliverer) release(ctx context.Context, d *Delivery, r *Result) {
	have, err := c.load(ctx, c.keyOfIncident(r))
	if err == nil && have.Sequence == d.Sequence && !have.RetryAt.IsZero() {
		have.RetryAt = time.Time{}
		_, err = c.Store.Save(ctx, c.keyOfIncident(r), have.State, have.revision)
	}
	if err != nil && !errors.Is(err, jobs.ErrConflict) {
		c.log.Warn("noting that a notification of an incident is over; the next one waits for its timeout", zap.Error(err))
	}
}

// what is the outcome or verdict that the result is about.
func (r *Result) what() string {
	if r.isVerdict() {
		return string(r.record.Verdict())
	}
	return string(r.record.Outcome)
}
