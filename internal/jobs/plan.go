package jobs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// Decider decides what policies make of an event: one Decision for each policy. It hands every
// request to the planner as it makes it, so that none is made for nothing.
type Decider interface {
	Decide(ctx context.Context, e Event, p Planner) []Decision
}

// Planner plans the jobs that policies ask for.
type Planner interface {
	// Take plans the job of a request, and reports whether the policy may ask for more.
	Take(d *Decision, r Request) bool
	// Costly is asked before the policies spend much on an event, and reports whether they may.
	Costly(ctx context.Context) bool
}

// Rules are what intake goes by. They belong to one configuration and never change; a new
// configuration has new ones.
type Rules struct {
	Decider  Decider // Nil: there are no policies.
	Accounts Accounts
	// Sealer opens what requests hold sealed, so that their targets are known. Nil: they stay sealed.
	Sealer Sealer
	// Reader reads what leaked where a request names it by file or reference. Nil: that stays unread.
	Reader SecretReader
	// Rotations are the configured rotations. Nil: there is none.
	Rotations map[string]RotationRule
	// Others are the rules that other workers have loaded. Nil: those of no other worker count.
	Others func(context.Context) ([]*Rules, error)
	// LoadedAt is when another worker has loaded them. Zero: they are this worker's.
	LoadedAt time.Time
	// Patience is how long after its event what a file or a store does not have is looked for. Zero: once.
	Patience time.Duration
	Limits   Limits // Of all events together.
	// MaxAge is the age of an event beyond which nothing is done. Zero: any age.
	MaxAge time.Duration
	// MaxSkew is how far in the future an event's time may be. Zero: not at all.
	MaxSkew time.Duration
	// DeadLetterUnmatched puts what asks for nothing among the dead letters.
	DeadLetterUnmatched bool
	// DryRun lets all jobs go through everything but the call that changes something.
	DryRun bool
}

// Plan is what is to become of an event.
type Plan struct {
	Decisions []Decision
	// Jobs are what it asks for, each action on each target once.
	Jobs []PlannedJob
	// Problems are *Malformed and *Rejection: what of the event is not done, and why.
	Problems []error
	// Unmatched says that no policy and no direct request asks for anything: none matches, or
	// the list of one that does is empty.
	Unmatched bool

	later *laterError // Why the event must be redelivered, when what else it asks for is done.
	place *place      // Of a costly event.
}

// PlannedJob is a job that does not exist yet, with the request that asks for it.
type PlannedJob struct {
	Job     Job
	Request Request
}

// Plan says what is to become of an event at a moment, but for the limits per hour. It is
// the same for the same event, whatever became of earlier deliveries.
func (r *Rules) Plan(ctx context.Context, e Event, now time.Time) Plan {
	return r.plan(ctx, e, now, crowds{})
}

func (r *Rules) plan(ctx context.Context, e Event, now time.Time, among crowds) Plan {
	p := planner{rules: r, event: e, asked: map[string]*asked{}, acts: map[string]int{}, now: now, readSecret: r.reading(ctx, among.readers)}
	p.others = sync.OnceValues(func() ([]*Rules, error) { return r.Others(ctx) })
	p.plan.place = &place{crowd: among.costly}
	if rejection := r.untimely(&e, now); rejection != nil {
		p.problem(rejection)
		return p.plan
	}
	if r.Decider != nil && OriginOf(e.Class) == OriginEvent {
		p.plan.Decisions = r.Decider.Decide(ctx, e, &p)
	}
	if e.Direct {
		p.direct()
	}
	for i := range p.plan.Decisions {
		p.decided(&p.plan.Decisions[i])
	}
	p.conclude()
	return p.plan
}

// untimely says why an event comes too late, or too early.
func (r *Rules) untimely(e *Event, now time.Time) *Rejection {
	at := e.Envelope.Time
	if e.At.After(now) { // NATS accepted it by its own clock, of which a worker learns a moment later that it was set.
		now = e.At
	}
	if ahead := at.Sub(now); ahead > r.MaxSkew {
		return &Rejection{Code: RejectLimit, Field: "time", Detail: fmt.Sprintf(
			"%s is %s in the future; intake.max_clock_skew is %s", stamp(at), Span(ahead), r.MaxSkew)}
	}
	if age := now.Sub(at); r.MaxAge > 0 && age > r.MaxAge {
		return &Rejection{Code: RejectLimit, Field: "time", Detail: fmt.Sprintf(
			"%s is %s ago; intake.max_event_age is %s", stamp(at), Span(age), r.MaxAge)}
	}
	return nil
}

// Span shows a duration. The longest one stands for all that are longer.
func Span(d time.Duration) string {
	if d == math.MaxInt64 {
		return "more than 290 years"
	}
	return d.Round(time.Second).String()
}

// CodeOf is the code under which an event with these problems lies among the dead letters.
func CodeOf(err error) string {
	if rejection, ok := errors.AsType[*Rejection](err); ok && (rejection.Code == RejectSignature || rejection.Code == RejectIdentity) {
		return string(rejection.Code) // It comes alone: nothing else of the event is looked at.
	}
	switch ResultOf(err) {
	case EventPolicyError:
		return string(RejectPolicy)
	case EventRefused:
		codes := codesOf(err)
		for _, code := range []RejectCode{RejectConflict, RejectLimit, RejectUnread} {
			if codes[code] {
				return string(code)
			}
		}
		return string(RejectPlaintext)
	case EventUnmatched:
		return string(RejectUnmatched)
	default:
		return string(EventMalformed)
	}
}

// codesOf are the codes of what is rejection.
func codesOf(err error) map[RejectCode]bool {
	codes := map[RejectCode]bool{}
	walk(err, func(one error) {
		if rejection, ok := errors.AsType[*Rejection](one); ok {
			codes[rejection.Code] = true
		}
	})
	return codes
}

// PoliciesOf are the policies that the problems of an event are about.
func PoliciesOf(err error) []string {
	var names []string
	walk(err, func(one error) {
		if rejection, ok := errors.AsType[*Rejection](one); ok && rejection.Policy != "" && !slices.Contains(names, rejection.Policy) {
			names = append(names, rejection.Policy)
		}
	})
	return names
}

// walk calls yield for each error that is joined in err.
func walk(err error, yield func(error)) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			walk(one, yield)
		}
		return
	}
	if err != nil {
		yield(err)
	}
}

// Err joins the problems of the plan, or is nil.
func (p Plan) Err() error { return errors.Join(p.Problems...) }

// Result is what the plan makes of the event, if nothing of it was done before.
func (p Plan) Result() EventResult {
	switch err := p.Err(); {
	case err != nil:
		return ResultOf(err)
	case p.Unmatched:
		return EventUnmatched
	}
	return EventAccepted
}

// ResultOf is what becomes of an event with these problems, the worst of them first.
func ResultOf(err error) EventResult {
	codes := codesOf(err)
	switch {
	case len(Mistakes(err)) > 0 || len(codes) == 0:
		return EventMalformed
	case codes[RejectPolicy]:
		return EventPolicyError
	case len(codes) == 1 && codes[RejectUnmatched]:
		return EventUnmatched
	}
	return EventRefused
}
