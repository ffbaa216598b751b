package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types/ref"

	"rekey/internal/jobs"
)

// Engine decides what the rules of one configuration make of an event. It never changes
// and may be used by several goroutines at once.
type Engine struct {
	rules []*rule
}

// New compiles rules. The error joins all mistakes; a validated configuration has none.
func New(namespace string, accounts []Account, rules []Rule) (*Engine, error) {
	engine := &Engine{}
	if len(rules) == 0 {
		return engine, nil
	}
	compiler, err := NewCompiler(namespace, accounts)
	if err != nil {
		return nil, err
	}
	var mistakes []error
	for _, r := range rules {
		compiled, problems := compiler.compile(r)
		for _, p := range problems {
			mistakes = append(mistakes, fmt.Errorf("policy %s: %s: %s", r.Name, p.Path, p.Detail))
		}
		engine.rules = append(engine.rules, compiled)
	}
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	return engine, nil
}

// Names are the names of the rules, in their order.
func (e *Engine) Names() []string {
	names := make([]string, len(e.rules))
	for i, r := range e.rules {
		names[i] = r.Name
	}
	return names
}

// Decide returns what each rule makes of an event, in the order of the rules. The same
// event gets the same answer whenever it is asked about.
func (e *Engine) Decide(ctx context.Context, event jobs.Event) []jobs.Decision {
	if len(e.rules) == 0 {
		return nil
	}
	v := newView(event)
	decisions := make([]jobs.Decision, len(e.rules))
	for i, r := range e.rules {
		decisions[i] = r.decide(ctx, v)
	}
	return decisions
}

// view is an event as the expressions of all rules see it. Its data is converted once, and
// only when a rule wants to see it.
type view struct {
	event jobs.Event
	vars  map[string]any
}

func newView(event jobs.Event) *view { return &view{event: event} }

func (v *view) variables() map[string]any {
	if v.vars != nil {
		return v.vars
	}
	e := &v.event
	seen := &celEvent{
		ID: e.ID, Source: e.Source, Type: e.Envelope.Type, Subject: e.Envelope.Topic, Class: e.Class,
		Time: e.Envelope.Time, Headers: e.Envelope.Headers, Extensions: e.Envelope.Extensions,
	}
	if e.Envelope.Data != nil {
		seen.Data = celValue(e.Envelope.Data)
	}
	v.vars = map[string]any{varEvent: seen, varNow: e.At}
	return v.vars
}

// withItem are the variables for one element of a list.
func (v *view) withItem(item ref.Val) map[string]any {
	vars := v.variables()
	return map[string]any{varEvent: vars[varEvent], varNow: vars[varNow], varItem: item}
}

// celValue converts decoded JSON. A whole number stays whole where 64 bits hold it.
func celValue(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, one := range v {
			out[name] = celValue(one)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			out[i] = celValue(one)
		}
		return out
	case json.Number:
		return celNumber(v.String())
	}
	return value
}

func celNumber(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.Inf(1) // Beyond what a double holds, as in 1e999.
	}
	return f
}

// decide runs one rule. Whatever errs, the rule asks for nothing.
func (r *rule) decide(ctx context.Context, v *view) jobs.Decision {
	d := jobs.Decision{Policy: r.Name, DryRun: r.DryRun, Limits: r.Limits}
	if why := r.filter.rejects(&v.event); why != "" {
		d.Why = why
		return d
	}
	if r.when != nil {
		matches, err := r.when.bool(ctx, v.variables())
		if err != nil {
			d.Held = r.held("when", r.when.text, err, v)
			return d
		}
		if !matches {
			d.Why = r.whyNot(ctx, v)
			return d
		}
	}
	d.Matched = true
	for i, j := range r.jobs {
		requests, held := r.requests(ctx, v, i, j, &d)
		if held != nil {
			d.Requests, d.Held = nil, held
			return d
		}
		d.Requests = append(d.Requests, requests...)
	}
	return d
}

// requests are what one entry of jobs asks for.
func (r *rule) requests(ctx context.Context, v *view, index int, j job, d *jobs.Decision) ([]jobs.Request, *jobs.Held) {
	path := fmt.Sprintf("jobs[%d]", index)
	if j.forEach == nil {
		request, held := r.request(ctx, v, path, j, v.variables(), d)
		return []jobs.Request{request}, held
	}
	items, err := j.forEach.list(ctx, v.variables())
	if err != nil {
		return nil, r.held(path+".for_each", j.forEach.text, err, v)
	}
	if len(items) > jobs.MaxJobsPerEvent {
		return nil, &jobs.Held{
			Code: jobs.HeldLimit, Policy: r.Name, Field: path + ".for_each",
			Detail: fmt.Sprintf("the list has %d elements; no event makes more than %d jobs", len(items), jobs.MaxJobsPerEvent),
		}
	}
	requests := make([]jobs.Request, 0, len(items))
	for i, item := range items {
		request, held := r.request(ctx, v, path, j, v.withItem(item), d)
		if held != nil {
			held.Detail = fmt.Sprintf("%s (element %d)", held.Detail, i)
			return nil, held
		}
		requests = append(requests, request)
	}
	return requests, nil
}

// request makes one request and validates it as that of an event. The decision learns what
// secrets it found.
func (r *rule) request(ctx context.Context, v *view, path string, j job, vars map[string]any, d *jobs.Decision) (jobs.Request, *jobs.Held) {
	params := map[string]any{}
	defer func() { d.InClear = append(d.InClear, jobs.SecretsIn(j.kind, params)...) }()
	fields := map[string]any{"kind": string(j.kind), "params": params}
	for _, f := range j.fields {
		value, err := f.run.string(ctx, vars)
		if err != nil {
			return jobs.Request{}, r.held(path+"."+f.path(), f.run.text, err, v)
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
		return jobs.Request{}, r.invalid(path, j, err)
	}
	request.Policy, request.DryRun = r.Name, r.DryRun
	return request, nil
}

// repeatsSecret finds a secret parameter in a field that results and logs show.
func repeatsSecret(request jobs.Request) error {
	for _, name := range request.Kind.ParamNames() {
		value := request.Params.Secret(name)
		if value.IsZero() {
			continue
		}
		for field, text := range map[string]string{"reason": request.Reason, "requested_by": request.RequestedBy} {
			if strings.Contains(text, value.Reveal()) {
				return &jobs.Malformed{Field: field, Detail: "repeats the secret of params." + name + ", and is shown in results"}
			}
		}
	}
	return nil
}

// held is why a rule asks for nothing: an expression erred.
func (r *rule) held(field, text string, err error, v *view) *jobs.Held {
	if why := refusal(err); why != "" {
		return &jobs.Held{Code: jobs.HeldPolicy, Policy: r.Name, Field: field, Detail: why}
	}
	return &jobs.Held{
		Code: jobs.HeldPolicy, Policy: r.Name, Field: field,
		Detail: shortText(text) + ": " + cause(err, text, v.event.Envelope.Data),
	}
}

// invalid is the same for expressions that worked and gave what is no job.
func (r *rule) invalid(path string, j job, err error) *jobs.Held {
	mistakes := jobs.Mistakes(err)
	held := &jobs.Held{Code: jobs.HeldPolicy, Policy: r.Name, Field: path, Detail: err.Error()}
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

// shortText is an expression as one short line.
func shortText(text string) string {
	const most = 160
	line := strings.Join(strings.Fields(text), " ")
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "…"
	}
	return line
}
