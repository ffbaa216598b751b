package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rekey/internal/jobs"
)

// evaluation is one rule at one event.
type evaluation struct {
	*rule
	view    *view
	planner jobs.Planner
	d       *jobs.Decision
	took    time.Duration // Of its expressions.
}

// decide runs the rule. Whatever errs, the rule asks for nothing.
func (e *evaluation) decide(ctx context.Context) {
	d, v := e.d, e.view
	*d = jobs.Decision{Policy: e.Name, DryRun: e.DryRun, Limits: e.Limits}
	if why := e.filter.rejects(&v.event); why != "" {
		d.Why = why
		return
	}
	if e.when != nil {
		matches, err := e.bool(ctx, e.when, v.variables())
		if err != nil {
			d.Rejection = e.reject("when", e.when.text, err)
			return
		}
		if !matches {
			d.Why = e.whyNot(ctx)
			return
		}
	}
	d.Matched = true
	for i, j := range e.jobs {
		more, rejection := e.ask(ctx, i, j)
		if d.Rejection = rejection; rejection != nil || !more {
			return
		}
	}
}

// ask hands the planner what one entry of jobs asks for, and reports whether it takes more.
func (e *evaluation) ask(ctx context.Context, index int, j job) (more bool, _ *jobs.Rejection) {
	path := fmt.Sprintf("jobs[%d]", index)
	if j.forEach == nil {
		return e.request(ctx, path, j, e.view.variables())
	}
	items, err := e.list(ctx, j.forEach, e.view.variables())
	if err != nil {
		e.expose(j)
		return false, e.reject(path+".for_each", j.forEach.text, err)
	}
	if len(items) > jobs.MaxJobsPerEvent {
		e.expose(j)
		return false, &jobs.Rejection{
			Code: jobs.RejectLimit, Policy: e.Name, Field: path + ".for_each",
			Detail: fmt.Sprintf("the list has %d elements; no event makes more than %d jobs", len(items), jobs.MaxJobsPerEvent),
		}
	}
	for i, item := range items {
		more, rejection := e.request(ctx, path, j, e.view.withItem(item))
		if rejection != nil {
			rejection.Detail = fmt.Sprintf("%s (element %d)", rejection.Detail, i)
		}
		if rejection != nil || !more {
			e.expose(j)
			return false, rejection
		}
	}
	return true, nil
}

// request makes one request, validates it as that of an event, and hands it over. The decision
// learns what secrets it found.
func (e *evaluation) request(ctx context.Context, path string, j job, vars map[string]any) (more bool, _ *jobs.Rejection) {
	params := map[string]any{}
	defer func() { e.d.InClear = append(e.d.InClear, jobs.SecretsIn(j.kind, params)...) }()
	fields := map[string]any{"kind": string(j.kind), "params": params}
	for _, f := range j.fields {
		value, err := e.string(ctx, f.run, vars)
		if err != nil {
			e.exposeUnread(ctx, j, params, vars)
			return false, e.reject(path+"."+f.path(), f.run.text, err)
		}
		switch {
		case f.param && value == "" && j.leavesOut(f.name):
		case f.param:
			params[f.name] = value
		default:
			fields[f.name] = value
		}
	}
	request, err := jobs.ParseRequest(jobs.Document{Fields: fields})
	if err == nil {
		err = repeatsSecret(request)
	}
	if err != nil {
		return false, e.invalid(path, j, err)
	}
	request.Policy, request.DryRun = e.Name, e.DryRun
	return e.planner.Take(e.d, request), nil
}

// exposeUnread adds the secrets that were not read before an expression erred. One that is no text, or cannot be read, may be
// anywhere in the event; one whose member is missing is not there.
func (e *evaluation) exposeUnread(ctx context.Context, j job, params map[string]any, vars map[string]any) {
	for _, f := range j.fields {
		if _, read := params[f.name]; read || !j.takesSecret(f) {
			continue
		}
		value, err := e.string(ctx, f.run, vars)
		switch {
		case err == nil:
			params[f.name] = value
		case !strings.HasPrefix(err.Error(), missingKey):
			e.expose(j)
			return
		}
	}
}

// expose takes all texts of the event for secrets, where the job takes one: some of what holds one was not read.
func (e *evaluation) expose(j job) {
	if slices.ContainsFunc(j.fields, j.takesSecret) {
		e.d.InClear = append(e.d.InClear, jobs.TextsIn(e.view.event.Envelope.Data)...)
	}
}

// reject says why a rule asks for nothing: an expression erred.
func (e *evaluation) reject(field, text string, err error) *jobs.Rejection {
	if why := refusal(err); why != "" {
		return &jobs.Rejection{Code: jobs.RejectPolicy, Policy: e.Name, Field: field, Detail: why}
	}
	return &jobs.Rejection{
		Code: jobs.RejectPolicy, Policy: e.Name, Field: field,
		Detail: shortText(text) + ": " + cause(err, text, e.view.event.Envelope.Data),
	}
}

// invalid is the same for expressions that worked and gave an invalid job.
func (e *evaluation) invalid(path string, j job, err error) *jobs.Rejection {
	mistakes := jobs.Mistakes(err)
	rejection := &jobs.Rejection{Code: jobs.RejectPolicy, Policy: e.Name, Field: path, Detail: err.Error()}
	if len(mistakes) == 0 {
		return rejection
	}
	rejection.Field, rejection.Detail = path+"."+mistakes[0].Field, mistakes[0].Detail
	for _, f := range j.fields {
		if f.path() == mistakes[0].Field {
			rejection.Detail = shortText(f.run.text) + ": " + mistakes[0].Detail
		}
	}
	return rejection
}
