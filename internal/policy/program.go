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
	// whole may cost as much as one expression may. begun is the same until it costs more than costly.
	whole, begun cel.Program
}

// eval runs the expression in one of its two forms, and says what that has cost. Its errors may quote the event.
func (p *program) eval(ctx context.Context, run cel.Program, vars map[string]any) (value ref.Val, cost uint64, err error) {
	value, details, err := run.ContextEval(ctx, vars)
	if details != nil && details.ActualCost() != nil {
		cost = *details.ActualCost()
	}
	if err == nil && types.IsUnknown(value) {
		err = errors.New("the value is not known")
	}
	return value, cost, err
}

func (p *program) bool(value ref.Val) (bool, error) {
	is, ok := value.Value().(bool)
	if !ok {
		return false, p.mistyped(value)
	}
	return is, nil
}

// string returns a text; a timestamp becomes one.
func (p *program) string(value ref.Val) (string, error) {
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

// list returns the elements of a list.
func (p *program) list(value ref.Val) ([]ref.Val, error) {
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

// safeError is an error that quotes nothing of an event.
type safeError string

// Error is the text.
func (e safeError) Error() string { return string(e) }

func (p *program) mistyped(value ref.Val) error {
	return safeError(fmt.Sprintf("gives a value of type %s, but must give %s", value.Type().TypeName(), p.want.name))
}
