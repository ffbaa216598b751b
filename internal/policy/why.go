package policy

import (
	"context"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// literalKind is the kind of a literal in a checked expression.
const literalKind = ast.LiteralKind

// whyNot says which part of an expression that is false as a whole makes it so.
func (e *evaluation) whyNot(ctx context.Context) string {
	for _, part := range e.parts {
		matches, err := e.bool(ctx, part, e.view.variables())
		if err == nil && !matches {
			return "when: false is " + shortText(part.text)
		}
	}
	return "when: false"
}

// parts takes an expression apart at its outermost &&. One that has none has no parts.
func parts(in *cel.Env, whole *program) []*program {
	if whole == nil {
		return nil
	}
	rep := whole.ast.NativeRep()
	var list []*program
	var walk func(ast.Expr)
	walk = func(e ast.Expr) {
		if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.LogicalAnd {
			for _, arg := range e.AsCall().Args() {
				walk(arg)
			}
			return
		}
		text, err := cel.ExprToString(e, rep.SourceInfo())
		if err != nil {
			return // Then the explanation does without this part.
		}
		if part, detail := compile(in, Expr(text), wantBool); detail == "" {
			list = append(list, part)
		}
	}
	walk(rep.Expr())
	return list
}
