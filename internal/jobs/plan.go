package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Decider decides what policies make of an event: one Decision for each policy.
type Decider interface {
	Decide(ctx context.Context, e Event) []Decision
}

// Rules are what intake goes by. They belong to one configuration and never change; a new
// configuration has new ones.
type Rules struct {
	Decider  Decider // Nil: there are no policies.
	Accounts Accounts
	// Sealer opens what requests hold sealed, so that their targets are known. Nil: they stay sealed.
	Sealer Sealer
	Limits Limits // Of all events together.
	// MaxAge is the age of an event beyond which nothing is done. Zero: any age.
	MaxAge time.Duration
	// MaxSkew is how far in the future an event's time may be. Zero: not at all.
	MaxSkew time.Duration
	// BuryUnmatched puts what asks for nothing among the dead letters.
	BuryUnmatched bool
	// DryRun lets all jobs go through everything but the call that changes something.
	DryRun bool
}

// Plan is what is to become of an event.
type Plan struct {
	Decisions []Decision
	// Jobs are what it asks for, each action on each target once.
	Jobs []PlannedJob
	// Problems are *Malformed and *Held: what of the event is not done, and why.
	Problems []error
	// Unmatched says that no policy and no direct request asks for anything: none matches, or
	// the list of one that does is empty.
	Unmatched bool
}

// PlannedJob is a job that does not exist yet, with the request that asks for it.
type PlannedJob struct {
	Job     Job
	Request Request
}

// Plan says what is to become of an event at a moment, but for the limits per hour. It is
// the same for the same event, whatever became of earlier deliveries.
func (r *Rules) Plan(ctx context.Context, e Event, now time.Time) Plan {
	if held := r.untimely(&e, now); held != nil {
		return Plan{Problems: []error{held}}
	}
	p := planner{rules: r, event: e, acts: map[string]int{}}
	if r.Decider != nil && OriginOf(e.Class) == OriginEvent {
		p.plan.Decisions = r.Decider.Decide(ctx, e)
	}
	if e.Asks {
		p.direct()
	}
	for i := range p.plan.Decisions {
		p.decided(&p.plan.Decisions[i])
	}
	p.conclude()
	return p.plan
}

// untimely says why an event comes too late, or too early.
func (r *Rules) untimely(e *Event, now time.Time) *Held {
	at := e.Envelope.Time
	if ahead := at.Sub(now); ahead > r.MaxSkew {
		return &Held{Code: HeldLimit, Field: "time", Detail: fmt.Sprintf(
			"%s is %s in the future; intake.max_clock_skew is %s", stamp(at), ahead.Round(time.Second), r.MaxSkew)}
	}
	if age := now.Sub(at); r.MaxAge > 0 && age > r.MaxAge {
		return &Held{Code: HeldLimit, Field: "time", Detail: fmt.Sprintf(
			"%s is %s ago; intake.max_event_age is %s", stamp(at), age.Round(time.Second), r.MaxAge)}
	}
	return nil
}

type planner struct {
	rules *Rules
	event Event
	plan  Plan
	acts  map[string]int // Where in plan.Jobs the job with an act is.
}

func (p *planner) problem(err error) { p.plan.Problems = append(p.plan.Problems, err) }

// direct plans the job of a direct request.
func (p *planner) direct() {
	planned, err := p.job(p.event.Request)
	if err != nil {
		p.problem(err)
		return
	}
	p.add(planned)
}

// decided plans the jobs of one policy: all of them, or none when one of them is no job. What
// only a list of the limits forbids is left out alone.
func (p *planner) decided(d *Decision) {
	if d.Held != nil {
		p.problem(d.Held)
		return
	}
	var planned []PlannedJob
	for _, request := range d.Requests {
		one, err := p.job(request)
		if err != nil {
			p.problem(heldBy(d.Policy, err))
			return
		}
		if !slices.ContainsFunc(planned, func(have PlannedJob) bool { return have.Job.ID == one.Job.ID }) {
			planned = append(planned, one)
		}
	}
	if most := d.Limits.MaxJobsPerEvent; most > 0 && len(planned) > most {
		p.problem(&Held{Code: HeldLimit, Policy: d.Policy, Field: "limits.max_jobs_per_event", Detail: fmt.Sprintf(
			"the event asks for %d jobs; the limit is %d", len(planned), most)})
		return
	}
	for _, one := range planned {
		if detail := d.Limits.forbids(one.Job); detail != "" {
			p.problem(heldJob(d.Policy, "limits", one.Job, detail))
			continue
		}
		p.add(one)
	}
}

// heldBy is a mistake that a policy made.
func heldBy(policy string, err error) *Held {
	if held, ok := errors.AsType[*Held](err); ok {
		named := *held
		named.Policy = policy
		return &named
	}
	held := &Held{Code: HeldPolicy, Policy: policy, Detail: err.Error()}
	if mistakes := Mistakes(err); len(mistakes) > 0 {
		held.Field, held.Detail = mistakes[0].Field, mistakes[0].Detail
	}
	return held
}

func heldJob(policy, field string, j Job, detail string) *Held {
	return &Held{Code: HeldLimit, Policy: policy, Field: field, Detail: fmt.Sprintf("%s of %s: %s", j.Kind, j.Target(), detail)}
}

func (p *planner) job(request Request) (PlannedJob, error) {
	account, err := p.rules.Accounts.Resolve(request.Kind, request.Account)
	if err != nil {
		return PlannedJob{}, err
	}
	request.DryRun = request.DryRun || p.rules.DryRun
	if p.rules.Sealer != nil {
		opened, err := request.Params.Open(p.rules.Sealer)
		if len(Mistakes(err)) > 0 {
			return PlannedJob{}, err
		}
		request.Params = opened // With any other error they are as they were: the desk meets it again.
	}
	request = request.discreet()
	e := p.event
	e.Request = request
	return PlannedJob{Job: newJob(e, account), Request: request}, nil
}

// add puts a job into the plan unless one that does the same is there already. Of the two the
// more urgent lane counts, and a dry run gives way to what is meant.
func (p *planner) add(one PlannedJob) {
	act := one.Job.act()
	if at, there := p.acts[act]; there {
		have := &p.plan.Jobs[at]
		lane := have.Job.Lane
		if one.Job.Lane.MoreUrgentThan(lane) {
			lane = one.Job.Lane
		}
		if have.Job.DryRun && !one.Job.DryRun {
			*have = one
		}
		have.Job.Lane, have.Request.Lane = lane, lane
		return
	}
	p.acts[act] = len(p.plan.Jobs)
	p.plan.Jobs = append(p.plan.Jobs, one)
}

// conclude applies the limits of all intake, and says when nothing is asked for at all.
func (p *planner) conclude() {
	l := p.rules.Limits
	p.plan.Jobs = slices.DeleteFunc(p.plan.Jobs, func(one PlannedJob) bool {
		detail := l.forbids(one.Job)
		if detail != "" {
			p.problem(heldJob(one.Job.Policy, "intake.limits", one.Job, detail))
		}
		return detail != ""
	})
	most := MaxJobsPerEvent
	if l.MaxJobsPerEvent > 0 {
		most = l.MaxJobsPerEvent
	}
	if n := len(p.plan.Jobs); n > most {
		p.problem(&Held{Code: HeldLimit, Field: "intake.limits.max_jobs_per_event", Detail: fmt.Sprintf(
			"the event asks for %d jobs; the limit is %d", n, most)})
		p.plan.Jobs = nil
	}
	if p.event.Asks || len(p.plan.Jobs) > 0 || len(p.plan.Problems) > 0 {
		return
	}
	if p.rules.Decider == nil && p.event.Unclear != nil {
		p.problem(p.event.Unclear) // Without policies, only a direct request can be meant.
		return
	}
	p.plan.Unmatched = true
	if p.rules.BuryUnmatched {
		p.problem(&Held{Code: HeldUnmatched, Detail: "no policy asks for a job, and it is no direct request"})
	}
}

// CodeOf is the code under which an event with these problems lies among the dead letters.
func CodeOf(err error) string {
	if held, ok := errors.AsType[*Held](err); ok && (held.Code == HeldSignature || held.Code == HeldIdentity) {
		return string(held.Code) // It comes alone: nothing else of the event is looked at.
	}
	switch ResultOf(err) {
	case IntakePolicyError:
		return string(HeldPolicy)
	case IntakeRefused:
		codes := codesOf(err)
		for _, code := range []HeldCode{HeldConflict, HeldLimit} {
			if codes[code] {
				return string(code)
			}
		}
		return string(HeldPlaintext)
	case IntakeUnmatched:
		return string(HeldUnmatched)
	default:
		return string(IntakeMalformed)
	}
}

// codesOf are the codes of what is held.
func codesOf(err error) map[HeldCode]bool {
	codes := map[HeldCode]bool{}
	walk(err, func(one error) {
		if held, ok := errors.AsType[*Held](one); ok {
			codes[held.Code] = true
		}
	})
	return codes
}

// PoliciesOf are the policies that the problems of an event are about.
func PoliciesOf(err error) []string {
	var names []string
	walk(err, func(one error) {
		if held, ok := errors.AsType[*Held](one); ok && held.Policy != "" && !slices.Contains(names, held.Policy) {
			names = append(names, held.Policy)
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
func (p Plan) Result() Intake {
	switch err := p.Err(); {
	case err != nil:
		return ResultOf(err)
	case p.Unmatched:
		return IntakeUnmatched
	}
	return IntakeAccepted
}

// ResultOf is what becomes of an event with these problems, the worst of them first.
func ResultOf(err error) Intake {
	codes := codesOf(err)
	switch {
	case len(Mistakes(err)) > 0 || len(codes) == 0:
		return IntakeMalformed
	case codes[HeldPolicy]:
		return IntakePolicyError
	case len(codes) == 1 && codes[HeldUnmatched]:
		return IntakeUnmatched
	}
	return IntakeRefused
}
