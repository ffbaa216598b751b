package policy

import (
	"cmp"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// CEL counts what a call costs when it is over, and no timeout reaches into it. A call of most
// functions is soon over, whatever an event holds. Those of costlyFunctions would compare each element of
// a list with each other one, or fill the memory, before it is found that they cost too much.

// maxGrowth is how many bytes one call may make. More than a sixth of it costs too much anyway.
const maxGrowth = 64 << 20

// maxScan is how many comparisons of a byte a search may take: about a second.
const maxScan = 1 << 30

// costlyFunctions returns, of each such function, what a call will take and how much it may.
func costlyFunctions() map[string]func(args []ref.Val) (takes, most int) {
	pairs := func(args []ref.Val) (int, int) { return size(args[0]) * size(args[len(args)-1]), costLimit }
	search := func(args []ref.Val) (int, int) { return len(text(args[0])) * len(text(args[1])), maxScan }
	growth := func(args []ref.Val) (int, int) { return len(text(args[0])) * len(text(args[2])), maxGrowth }
	return map[string]func([]ref.Val) (int, int){
		"distinct": pairs, "hasAll": pairs, "hasAny": pairs, "hasExactly": pairs, "hasOnly": pairs,
		"sets.contains": pairs, "sets.equivalent": pairs, "sets.intersects": pairs,
		"indexOf": search, "lastIndexOf": search, "regex.replace": growth,
		"replace": func(args []ref.Val) (int, int) {
			return strings.Count(text(args[0]), text(args[1])) * len(text(args[2])), maxGrowth
		},
		"join": func(args []ref.Val) (int, int) {
			if len(args) == 1 {
				return 0, maxGrowth
			}
			return size(args[0]) * len(text(args[1])), maxGrowth
		},
	}
}

// size is the length of a list, 0 of anything else.
func size(value ref.Val) int {
	list, ok := value.(traits.Lister)
	if !ok {
		return 0
	}
	n, ok := list.Size().(types.Int)
	if !ok {
		return 0
	}
	return int(n)
}

// text is a string, "" for anything else.
func text(value ref.Val) string {
	s, ok := value.(types.String)
	if !ok {
		return ""
	}
	return string(s)
}

// boundSteep makes calls of costly functions fail that would take too much, before they begin.
func boundSteep(in *cel.Env) cel.ProgramOption {
	costly := costlyFunctions()
	return cel.CustomDecoratorV2(func(node interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		call, ok := node.(interpreter.InterpretableCall)
		if !ok || costly[call.Function()] == nil {
			return node, nil
		}
		run, err := implementation(in, call)
		if err != nil {
			return nil, err
		}
		return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
			if takes, most := costly[call.Function()](args); takes > most {
				return types.NewErr("%s: what it is given is too large", call.Function())
			}
			return run(args...)
		}), nil
	})
}

// implementation is what a call runs: that of its overload or, where only the event tells which one
// that is, the one that finds it.
func implementation(in *cel.Env, call interpreter.InterpretableCall) (functions.FunctionOp, error) {
	overloads, err := in.Functions()[call.Function()].Bindings()
	if err != nil {
		return nil, err
	}
	for _, o := range overloads {
		switch {
		case o.Operator != cmp.Or(call.OverloadID(), call.Function()):
		case o.Function != nil:
			return o.Function, nil
		case o.Unary != nil:
			return func(args ...ref.Val) ref.Val { return o.Unary(args[0]) }, nil
		case o.Binary != nil:
			return func(args ...ref.Val) ref.Val { return o.Binary(args[0], args[1]) }, nil
		}
	}
	return nil, fmt.Errorf("%s: there is no implementation", call.Function())
}
