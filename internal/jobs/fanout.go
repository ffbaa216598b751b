package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"rekey/internal/secret"
)

// Budget counts, for the whole fleet, how many jobs were taken in within the last hour.
type Budget interface {
	// Take counts up to n jobs more in a scope, as far as limit allows, and returns how many.
	Take(ctx context.Context, scope string, n, limit int) (int, error)
	// Return takes back what was counted and not used.
	Return(ctx context.Context, scope string, n int) error
}

// FanoutRecorder counts what policies decide.
type FanoutRecorder interface {
	PolicyDecided(policy, decision string)
}

// What a policy can decide about an event, for the FanoutRecorder.
const (
	DecisionMatched = "matched"
	DecisionPassed  = "not_matched"
	DecisionErred   = "error"
	DecisionLimited = "limited" // It matched, and a limit held some or all of its jobs.
)

// Decisions lists all that a policy can decide.
func Decisions() []string {
	return []string{DecisionMatched, DecisionPassed, DecisionErred, DecisionLimited}
}

// Fanout turns an event into all of its jobs: those of a direct request and those that
// policies ask for. Each job is made, or found, on its own, so that an event that was cut
// off half-way adds what is missing when it is redelivered.
type Fanout struct {
	intake   *Intake
	budget   Budget
	recorder FanoutRecorder
	crowds   crowds
	rules    atomic.Pointer[Rules]
}

// NewFanout returns a Fanout that goes by these rules.
func NewFanout(d *Intake, b Budget, r FanoutRecorder, rules *Rules) *Fanout {
	f := &Fanout{intake: d, budget: b, recorder: r, crowds: crowds{costly: newCostly(), readers: NewCrowd(readsAtOnce, 0)}}
	f.Use(rules)
	return f
}

// Use replaces the rules. Events that are being taken in keep those that they began with.
func (f *Fanout) Use(rules *Rules) { f.rules.Store(rules) }

// Accept makes the jobs that an event asks for, or finds those that exist. It can be
// repeated after a crash at any step. The error is either of *Malformed and *Rejection, joined:
// then what they are about is not done, and everything else is; or it is another one, and
// the event must be redelivered.
func (f *Fanout) Accept(ctx context.Context, e Event) (Accepted, error) {
	rules := f.rules.Load()
	plan := rules.plan(ctx, e, f.intake.now(), f.crowds)
	defer plan.place.leave()
	if plan.crowded(ctx) {
		return Accepted{}, ErrCrowded
	}
	granted, err := f.grant(ctx, rules, &plan)
	if err != nil {
		return Accepted{}, err
	}
	accepted, err := f.fulfil(ctx, e, &plan, granted)
	if refund := f.refund(ctx, granted); err == nil {
		err = refund
	}
	if err == nil && plan.later != nil {
		err = plan.later
	}
	if err != nil {
		return Accepted{}, err
	}
	f.record(&plan)
	if plan.Unmatched {
		accepted.Result = EventUnmatched
	}
	accepted.Found = found(append(plan.secrets(), accepted.InClear()...))
	return accepted, plan.Err()
}

// crowded reports whether the event is costly, and there is no place for it now.
func (p *Plan) crowded(ctx context.Context) bool {
	if len(p.Jobs) > manyJobs {
		p.place.take(ctx)
	}
	return p.place.full
}

// simple reports whether the event asks for one job, and nothing else has to be done about it: then that job may settle it.
func (p *Plan) simple() bool {
	return len(p.Jobs) == 1 && len(p.Problems) == 0 && p.later == nil && len(p.secrets()) == 0
}

// secrets are those that the policies found in the event.
func (p *Plan) secrets() []secret.Value {
	var all []secret.Value
	for _, d := range p.Decisions {
		all = append(all, d.InClear...)
	}
	return all
}

// grantedJob is a planned job with the scopes in which it was counted.
type grantedJob struct {
	PlannedJob
	counted []string
	used    bool // It made a job.
}

// fulfil makes the jobs. What one of them is refused for becomes a problem of the plan.
func (f *Fanout) fulfil(ctx context.Context, e Event, plan *Plan, granted []*grantedJob) (Accepted, error) {
	var all Accepted
	var exposed []secret.Value
	if len(granted) != 1 || !plan.simple() {
		e.Start = nil
	}
	for _, one := range granted {
		e.Request = one.Request
		accepted, err := f.intake.Accept(ctx, e)
		exposed = append(exposed, accepted.InClear()...)
		if len(Mistakes(err)) > 0 || len(codesOf(err)) > 0 {
			if one.Request.Policy != "" {
				err = rejectedBy(one.Request.Policy, err)
			}
			plan.Problems = append(plan.Problems, err)
			continue
		}
		if err != nil {
			return Accepted{}, err
		}
		all.Started = accepted.Started
		one.used = accepted.Result == EventAccepted
		all.JobID, all.Ended = cmp.Or(all.JobID, accepted.JobID), cmp.Or(all.Ended, accepted.Ended)
		if all.Result == "" || one.used {
			all.Result = accepted.Result
		}
	}
	all.Found = found(exposed)
	return all, nil
}

// scope is what counts jobs by the hour.
type scope struct {
	key    string
	policy string // Empty for all intake.
	field  string
	limit  int
}

// scopesOf returns the scopes in which jobs count, by their policy; the policy's comes first.
func (r *Rules) scopesOf(plan *Plan) func(policy string) []scope {
	var all []scope
	if r.Limits.MaxJobsPerHour > 0 {
		all = []scope{{"all", "", "intake.limits.max_jobs_per_hour", r.Limits.MaxJobsPerHour}}
	}
	own := map[string][]scope{}
	for _, d := range plan.Decisions {
		if d.Limits.MaxJobsPerHour > 0 {
			own[d.Policy] = append([]scope{{"policy." + d.Policy, d.Policy, "limits.max_jobs_per_hour", d.Limits.MaxJobsPerHour}}, all...)
		}
	}
	return func(policy string) []scope {
		if scopes, has := own[policy]; has {
			return scopes
		}
		return all
	}
}

// grant counts the jobs of the plan that do not exist yet by the hour. A job beyond a
// limit becomes a problem of the plan.
func (f *Fanout) grant(ctx context.Context, rules *Rules, plan *Plan) ([]*grantedJob, error) {
	granted := make([]*grantedJob, 0, len(plan.Jobs))
	for _, one := range plan.Jobs {
		granted = append(granted, &grantedJob{PlannedJob: one})
	}
	wants, err := f.wants(ctx, rules, plan, granted)
	if err != nil {
		return nil, err
	}
	refused := map[*grantedJob]bool{}
	for _, w := range wants {
		if err := f.count(ctx, plan, w, refused); err != nil {
			return nil, errors.Join(fmt.Errorf("counting jobs by the hour: %w", err), f.refund(ctx, granted))
		}
	}
	var passed, stopped []*grantedJob
	for _, g := range granted {
		if refused[g] {
			stopped = append(stopped, g)
		} else {
			passed = append(passed, g)
		}
	}
	if err := f.refund(ctx, stopped); err != nil {
		return nil, errors.Join(err, f.refund(ctx, passed))
	}
	return passed, nil
}

// count counts jobs in a scope, and adds those beyond its limit to the refused ones.
func (f *Fanout) count(ctx context.Context, plan *Plan, w *want, refused map[*grantedJob]bool) error {
	s := w.scope
	wanting := slices.DeleteFunc(w.jobs, func(g *grantedJob) bool { return refused[g] })
	got, err := f.budget.Take(ctx, s.key, len(wanting), s.limit)
	if err != nil {
		return err
	}
	for i, g := range wanting {
		if i < got {
			g.counted = append(g.counted, s.key)
		} else {
			refused[g] = true
		}
	}
	if over := len(wanting) - got; over > 0 {
		plan.Problems = append(plan.Problems, &Rejection{Code: RejectLimit, Policy: s.policy, Field: s.field, Detail: fmt.Sprintf(
			"%d of the event's jobs exceed the limit of %d in an hour", over, s.limit)})
	}
	return nil
}

// want are jobs that are to be counted in a scope.
type want struct {
	scope scope
	jobs  []*grantedJob
}

// wants sorts the jobs that do not exist yet by the scopes in which they count. The scope of all
// intake comes last: it counts what those of the policies have let through.
func (f *Fanout) wants(ctx context.Context, rules *Rules, plan *Plan, granted []*grantedJob) ([]*want, error) {
	var wants []*want
	in := map[scope]*want{}
	scopesOf := rules.scopesOf(plan)
	for _, g := range granted {
		scopes := scopesOf(g.Request.Policy)
		if len(scopes) == 0 {
			continue
		}
		known, err := f.intake.knows(ctx, g.Job)
		if err != nil {
			return nil, err
		}
		if known {
			continue
		}
		for _, s := range scopes {
			if in[s] == nil {
				in[s] = &want{scope: s}
				wants = append(wants, in[s])
			}
			in[s].jobs = append(in[s].jobs, g)
		}
	}
	slices.SortStableFunc(wants, func(a, b *want) int { return cmp.Compare(b.scope.policy, a.scope.policy) })
	return wants, nil
}

// refund takes back what was counted for jobs that were not made: they existed, or joined
// another, or the event is redelivered.
func (f *Fanout) refund(ctx context.Context, granted []*grantedJob) error {
	unused := map[string]int{}
	for _, g := range granted {
		if g.used {
			continue
		}
		for _, key := range g.counted {
			unused[key]++
		}
		g.counted = nil
	}
	var failed []error
	for _, key := range slices.Sorted(maps.Keys(unused)) {
		if err := f.budget.Return(ctx, key, unused[key]); err != nil {
			failed = append(failed, fmt.Errorf("counting jobs by the hour: %w", err))
		}
	}
	return errors.Join(failed...)
}

// record counts what the policies have decided.
func (f *Fanout) record(plan *Plan) {
	codes := map[string]RejectCode{}
	for _, problem := range plan.Problems {
		if h, ok := errors.AsType[*Rejection](problem); ok && codes[h.Policy] != RejectPolicy {
			codes[h.Policy] = h.Code
		}
	}
	for _, d := range plan.Decisions {
		decision := DecisionPassed
		switch code, has := codes[d.Policy]; {
		case has && code == RejectPolicy:
			decision = DecisionErred
		case has:
			decision = DecisionLimited
		case d.Matched:
			decision = DecisionMatched
		}
		f.recorder.PolicyDecided(d.Policy, decision)
	}
}

// knows reports whether a job exists, or has joined another. One of the same identity that does
// something else is not it.
func (d *Intake) knows(ctx context.Context, job Job) (bool, error) {
	entry, known, err := d.lookUp(ctx, job.ID)
	if err != nil || known {
		return known && entry.Record.does(job), err
	}
	_, err = d.targets.Joined(ctx, job.ID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking up what job %s joined: %w", job.ID, err)
	}
	return true, nil
}
