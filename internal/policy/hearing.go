package policy

import (
	"context"
	"fmt"
	"time"

	"rekey/internal/jobs"
)

// hearing is one rule at one event.
type hearing struct {
	*rule
	view    *view
	planner jobs.Planner
	d       *jobs.Decision
	took    time.Duration // Of its expressions.
}

// decide runs the rule. Whatever errs, the rule asks for nothing.
func (h *hearing) decide(ctx context.Context) {
	d, v := h.d, h.view
	*d = jobs.Decision{Policy: h.Name, DryRun: h.DryRun, Limits: h.Limits}
	if why := h.filter.rejects(&v.event); why != "" {
		d.Why = why
		return
	}
	if h.when != nil {
		matches, err := h.bool(ctx, h.when, v.variables())
		if err != nil {
			d.Held = h.held("when", h.when.text, err)
			return
		}
		if !matches {
			d.Why = h.whyNot(ctx)
			return
		}
	}
	d.Matched = true
	for i, j := range h.jobs {
		more, held := h.ask(ctx, i, j)
		if d.Held = held; held != nil || !more {
			return
		}
	}
}

// ask hands the planner what one entry of jobs asks for, and reports whether it takes more.
func (h *hearing) ask(ctx context.Context, index int, j job) (more bool, _ *jobs.Held) {
	path := fmt.Sprintf("jobs[%d]", index)
	if j.forEach == nil {
		return h.request(ctx, path, j, h.view.variables())
	}
	items, err := h.list(ctx, j.forEach, h.view.variables())
	if err != nil {
		h.expose(j)
		return false, h.held(path+".for_each", j.forEach.text, err)
	}
	if len(items) > jobs.MaxJobsPerEvent {
		h.expose(j)
		return false, &jobs.Held{
			Code: jobs.HeldLimit, Policy: h.Name, Field: path + ".for_each",
			Detail: fmt.Sprintf("the list has %d elements; no event makes more than %d jobs", len(items), jobs.MaxJobsPerEvent),
		}
	}
	for i, item := range items {
		more, held := h.request(ctx, path, j, h.view.withItem(item))
		if held != nil {
			held.Detail = fmt.Sprintf("%s (element %d)", held.Detail, i)
		}
		if held != nil || !more {
			h.expose(j)
			return false, held
		}
	}
	return true, nil
}

// request makes one request, validates it as that of an event, and hands it over. The decision
// learns what secrets it found.
func (h *hearing) request(ctx context.Context, path string, j job, vars map[string]any) (more bool, _ *jobs.Held) {
	params := map[string]any{}
	defer func() { h.d.InClear = append(h.d.InClear, jobs.SecretsIn(j.kind, params)...) }()
	fields := map[string]any{"kind": string(j.kind), "params": params}
	for _, f := range j.fields {
		value, err := h.string(ctx, f.run, vars)
		if err != nil {
			return false, h.held(path+"."+f.path(), f.run.text, err)
		}
		if f.param {
			params[f.name] = value
		} else {
			fields[f.name] = value
		}
	}
	request, err := jobs.ParseRequest(jobs.Document{Fields: fields})
	if err == nil {
		err = repeatsSecret(request)
	}
	if err != nil {
		return false, h.invalid(path, j, err)
	}
	request.Policy, request.DryRun = h.Name, h.DryRun
	return h.planner.Take(h.d, request), nil
}

// expose takes all texts of the event for secrets: some of the elements that hold one were not looked at.
func (h *hearing) expose(j job) {
	for _, f := range j.fields {
		if f.param && len(jobs.SecretsIn(j.kind, map[string]any{f.name: "x"})) > 0 {
			h.d.InClear = append(h.d.InClear, jobs.TextsIn(h.view.event.Envelope.Data)...)
			return
		}
	}
}

// held is why a rule asks for nothing: an expression erred.
func (h *hearing) held(field, text string, err error) *jobs.Held {
	if why := refusal(err); why != "" {
		return &jobs.Held{Code: jobs.HeldPolicy, Policy: h.Name, Field: field, Detail: why}
	}
	return &jobs.Held{
		Code: jobs.HeldPolicy, Policy: h.Name, Field: field,
		Detail: shortText(text) + ": " + cause(err, text, h.view.event.Envelope.Data),
	}
}

// invalid is the same for expressions that worked and gave what is no job.
func (h *hearing) invalid(path string, j job, err error) *jobs.Held {
	mistakes := jobs.Mistakes(err)
	held := &jobs.Held{Code: jobs.HeldPolicy, Policy: h.Name, Field: path, Detail: err.Error()}
	if len(mistakes) == 0 {
		return held
	}
	held.Field, held.Detail = path+"."+mistakes[0].Field, mistakes[0].Detail
	for _, f := range j.fields {
		if f.path() == mistakes[0].Field {
			held.Detail = shortText(f.run.text) + ": " + mistakes[0].Detail
		}
	}
	return held
}
