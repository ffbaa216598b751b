package policy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// program is one expression, ready to run. It may run in several goroutines at once.
type program struct {
	text string
	want want
	ast  *cel.Ast
	run  cel.Program
}

// eval runs the expression. Its errors may quote the event.
func (p *program) eval(ctx context.Context, vars map[string]any) (ref.Val, error) {
	ctx, cancel := context.WithTimeout(ctx, exprTimeout)
	defer cancel()
	value, _, err := p.run.ContextEval(ctx, vars)
	if err != nil {
		return nil, err
	}
	if types.IsUnknown(value) {
		return nil, errors.New("the value is not known")
	}
	return value, nil
}

func (p *program) bool(ctx context.Context, vars map[string]any) (bool, error) {
	value, err := p.eval(ctx, vars)
	if err != nil {
		return false, err
	}
	is, ok := value.Value().(bool)
	if !ok {
		return false, p.mistyped(value)
	}
	return is, nil
}

// string returns a text; a timestamp becomes one.
func (p *program) string(ctx context.Context, vars map[string]any) (string, error) {
	value, err := p.eval(ctx, vars)
	if err != nil {
		return "", err
	}
	switch v := value.(type) {
	case types.String:
		return string(v), nil
	case types.Timestamp:
		if p.want.allows(cel.TimestampType) {
			return v.Time.UTC().Format(time.RFC3339Nano), nil
		}
	}
	return "", p.mistyped(value)
}

func (p *program) list(ctx context.Context, vars map[string]any) ([]ref.Val, error) {
	value, err := p.eval(ctx, vars)
	if err != nil {
		return nil, err
	}
	list, ok := value.(traits.Lister)
	if !ok {
		return nil, p.mistyped(value)
	}
	var items []ref.Val
	for it := list.Iterator(); it.HasNext() == types.True; {
		items = append(items, it.Next())
	}
	return items, nil
}

// mistyped is an error that quotes nothing of an event.
type mistyped string

// Error names the types.
func (m mistyped) Error() string { return string(m) }

func (p *program) mistyped(value ref.Val) error {
	return mistyped(fmt.Sprintf("gives a value of type %s, but must give %s", value.Type().TypeName(), p.want.name))
}
