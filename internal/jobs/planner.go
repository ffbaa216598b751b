package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// mostProblems bounds how many forbidden jobs of one policy are reported one by one.
const mostProblems = 100

// planner makes a Plan. What it does for one more job does not depend on how many there are.
type planner struct {
	rules *Rules
	event Event
	plan  Plan
	asked map[string]*asked // By policy.
	acts  map[string]int    // Where in plan.Jobs the job with an act is.
	over  bool              // A policy alone asks for more than all intake may.

	now        time.Time
	others     func() ([]*Rules, error)                                 // Those of other workers, read once.
	readSecret func(params Params, p kinds.Param) (secret.Value, error) // Nil: secrets elsewhere stay unread.
}

// asked is what a policy asks for.
type asked struct {
	jobs      []PlannedJob
	ids       map[string]bool
	rejection *Rejection // Why it gets nothing.
	forbidden []error
	more      int // Forbidden jobs that are not reported one by one.
	passing   int // Jobs that the lists of all intake let pass.
}

func (p *planner) problem(err error) { p.plan.Problems = append(p.plan.Problems, err) }

// Costly reports whether the policies may spend much on the event.
func (p *planner) Costly(ctx context.Context) bool { return p.plan.place.take(ctx) }

// direct plans the job of a direct request.
func (p *planner) direct() {
	planned, err := p.job(p.event.Request)
	if p.isLater(err) {
		return
	}
	if err != nil {
		p.problem(err)
		return
	}
	p.add(planned)
}

// isLater reports whether an error asks for a redelivery of the event. What else it asks for is done all the same.
func (p *planner) isLater(err error) bool {
	later, ok := errors.AsType[*laterError](err)
	if ok && p.plan.later == nil {
		p.plan.later = later
	}
	return ok
}

// Take plans one more job of a policy. One that exceeds a limit ends it there and then: the policy
// gets nothing, or the event does.
func (p *planner) Take(d *Decision, r Request) bool {
	a := p.asked[d.Policy]
	if a == nil {
		a = &asked{ids: map[string]bool{}}
		p.asked[d.Policy] = a
	}
	one, err := p.job(r)
	if p.isLater(err) {
		return true
	}
	if err != nil {
		a.rejection = rejectedBy(d.Policy, err)
		return false
	}
	if a.ids[one.Job.ID] {
		return true
	}
	a.ids[one.Job.ID] = true
	if most := d.Limits.MaxJobsPerEvent; most > 0 && len(a.ids) > most {
		a.rejection = &Rejection{Code: RejectLimit, Policy: d.Policy, Field: "limits.max_jobs_per_event", Detail: tooMany(most)}
		return false
	}
	if detail := d.Limits.forbids(one.Job); detail != "" {
		a.forbid(rejectedJob(d.Policy, "limits", one.Job, detail))
		return true
	}
	a.jobs = append(a.jobs, one)
	if p.rules.Limits.forbids(one.Job) == "" {
		a.passing++
	}
	p.over = p.over || a.passing > p.most()
	return !p.over
}

func (a *asked) forbid(h *Rejection) {
	if len(a.forbidden) < mostProblems {
		a.forbidden = append(a.forbidden, h)
	} else {
		a.more++
	}
}

// most is how many jobs one event may make.
func (p *planner) most() int {
	if most := p.rules.Limits.MaxJobsPerEvent; most > 0 {
		return most
	}
	return MaxJobsPerEvent
}

func tooMany(most int) string {
	return fmt.Sprintf("the event asks for more jobs than the limit of %d", most)
}

// decided adds the jobs of one policy: all of them, or none when one of them is no job. What
// only a list of the limits forbids is left out alone.
func (p *planner) decided(d *Decision) {
	a := p.asked[d.Policy]
	switch {
	case d.Rejection != nil:
		p.problem(d.Rejection)
		return
	case a == nil:
		return
	case a.rejection != nil:
		p.problem(a.rejection)
		return
	}
	p.plan.Problems = append(p.plan.Problems, a.forbidden...)
	if a.more > 0 {
		p.problem(&Rejection{Code: RejectLimit, Policy: d.Policy, Field: "limits", Detail: fmt.Sprintf("%d more jobs are forbidden", a.more)})
	}
	for _, one := range a.jobs {
		p.add(one)
	}
}

// heldBy is a mistake that a policy made.
func rejectedBy(policy string, err error) *Rejection {
	if rejection, ok := errors.AsType[*Rejection](err); ok {
		named := *rejection
		named.Policy = policy
		return &named
	}
	rejection := &Rejection{Code: RejectPolicy, Policy: policy, Detail: err.Error()}
	if mistakes := Mistakes(err); len(mistakes) > 0 {
		rejection.Field, rejection.Detail = mistakes[0].Field, mistakes[0].Detail
	}
	return rejection
}

func rejectedJob(policy, field string, j Job, detail string) *Rejection {
	return &Rejection{Code: RejectLimit, Policy: policy, Field: field, Detail: fmt.Sprintf("%s of %s: %s", j.Kind, j.Target(), detail)}
}

func (p *planner) job(request Request) (PlannedJob, error) {
	request.DryRun = request.DryRun || p.rules.DryRun
	if p.rules.Sealer != nil {
		opened, err := request.Params.Open(p.rules.Sealer)
		if len(Mistakes(err)) > 0 {
			return PlannedJob{}, err
		}
		request.Params = opened // With any other error they are as they were: the intake meets it again.
	}
	if p.readSecret != nil {
		read, err := p.read(request)
		if err != nil {
			return PlannedJob{}, err
		}
		request = read
	}
	request, err := request.Become(p.rules.Sealer)
	if err != nil {
		return PlannedJob{}, err
	}
	named, account, err := p.rules.resolve(request)
	if err != nil {
		return PlannedJob{}, p.unknown(request, err)
	}
	request.Account = named
	request = request.discreet()
	e := p.event
	e.Request = request
	return PlannedJob{Job: newJob(e, account), Request: request}, nil
}

// unknown says what becomes of a request for which this worker has no account. While another worker has loaded rules that have one, the event is
// put back, until one of those workers gets it or this one has loaded them, too.
func (p *planner) unknown(r Request, err error) error {
	if later := p.rules.elsewhere(r, err, p.event.At, p.now, p.others); later != nil {
		return &laterError{later}
	}
	return err
}

// add puts a job into the plan unless the same action on the same target is there already.
// Of the two the more urgent lane counts, and a dry run gives way to what is meant.
func (p *planner) add(one PlannedJob) {
	act := one.Job.act()
	at, there := p.acts[act]
	if !there {
		p.acts[act] = len(p.plan.Jobs)
		p.plan.Jobs = append(p.plan.Jobs, one)
		return
	}
	have := &p.plan.Jobs[at]
	lane := have.Job.Lane
	if one.Job.Lane.MoreUrgentThan(lane) {
		lane = one.Job.Lane
	}
	if have.Job.DryRun && !one.Job.DryRun {
		*have = one
	}
	have.Job.Lane, have.Request.Lane = lane, lane
}

// conclude applies the limits of all intake, and says when nothing is asked for at all.
func (p *planner) conclude() {
	var all asked
	p.plan.Jobs = slices.DeleteFunc(p.plan.Jobs, func(one PlannedJob) bool {
		detail := p.rules.Limits.forbids(one.Job)
		if detail != "" {
			all.forbid(rejectedJob(one.Job.Policy, "intake.limits", one.Job, detail))
		}
		return detail != ""
	})
	p.plan.Problems = append(p.plan.Problems, all.forbidden...)
	if all.more > 0 {
		p.problem(&Rejection{Code: RejectLimit, Field: "intake.limits", Detail: fmt.Sprintf("%d more jobs are forbidden", all.more)})
	}
	if most := p.most(); p.over || len(p.plan.Jobs) > most {
		p.problem(&Rejection{Code: RejectLimit, Field: "intake.limits.max_jobs_per_event", Detail: tooMany(most)})
		p.plan.Jobs = nil
	}
	if p.event.Direct || len(p.plan.Jobs) > 0 || len(p.plan.Problems) > 0 || p.plan.later != nil {
		return
	}
	noPolicies := p.rules.Decider == nil && p.event.NotDirect != nil
	foreign := p.event.Envelope.Type != ""
	if noPolicies && !foreign {
		p.problem(p.event.NotDirect) // Without policies, plain JSON can only be meant as a direct request.
		return
	}
	p.plan.Unmatched = true
	switch {
	case noPolicies: // A worker without policies can do nothing with a foreign CloudEvent: a dead letter says so.
		p.problem(&Rejection{Code: RejectUnmatched, Detail: p.event.NotDirect.Error()})
	case p.rules.DeadLetterUnmatched:
		p.problem(&Rejection{Code: RejectUnmatched, Detail: "no policy asks for a job, and it is no direct request"})
	}
}
