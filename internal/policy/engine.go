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
	"rekey/internal/kinds"
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

// Decide returns what each rule makes of an event, in the order of the rules, and hands the planner
// what they ask for. The same event gets the same answer whenever it is asked about.
func (e *Engine) Decide(ctx context.Context, event jobs.Event, p jobs.Planner) []jobs.Decision {
	if len(e.rules) == 0 {
		return nil
	}
	v := newView(event)
	decisions := make([]jobs.Decision, len(e.rules))
	for i, r := range e.rules {
		one := evaluation{rule: r, view: v, planner: p, d: &decisions[i]}
		one.decide(ctx)
	}
	return decisions
}

// view is an event as the expressions of all rules see it. Its data is converted once, and
// only when a rule wants to see it.
type view struct {
	event jobs.Event
	vars  map[string]any
	// spent is what all rules together have spent on it. Beyond a bound it is costly, and the planner
	// lets them go on.
	spent  uint64
	costly bool
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

// repeatsSecret finds a secret parameter in a field that results and logs show.
func repeatsSecret(request jobs.Request) error {
	for _, p := range kinds.Of(request.Kind).Secrets() {
		value := request.Params.Secret(p.Name)
		if value.IsZero() {
			continue
		}
		for field, text := range map[string]string{"reason": request.Reason, "requested_by": request.RequestedBy} {
			if strings.Contains(text, value.Reveal()) {
				return &jobs.Malformed{Field: field, Detail: "repeats the secret of params." + p.Name + ", and is shown in results"}
			}
		}
	}
	return nil
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
