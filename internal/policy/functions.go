package policy

import (
	"errors"
	"regexp"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"rekey/internal/credential"
)

// Functions with which a rule refuses an event aloud.
const (
	funcFail     = "fail"
	funcUnfilled = "unfilled"
)

// failFunctions are fail("why"), which errs with that text, so that the event becomes a dead letter, and unfilled(text),
// which tells a text in which a template was left as it was written.
func failFunctions() []cel.EnvOption {
	return []cel.EnvOption{
		cel.Function(funcFail, cel.Overload("fail_string", []*cel.Type{cel.StringType}, cel.DynType, cel.UnaryBinding(fail))),
		cel.Function(funcUnfilled, cel.Overload("unfilled_dyn", []*cel.Type{cel.DynType}, cel.BoolType, cel.UnaryBinding(unfilled))),
		cel.CostModel(cost.Overload("unfilled_dyn",
			cost.EvalCost(cost.Sum(cost.Const(cost.CallCost), cost.StringScan(cost.Length(cost.Arg(0))))))),
	}
}

// failure is the error of a rule that refuses an event with a text of its own.
type failure string

// Error is that text.
func (f failure) Error() string { return string(f) }

func fail(why ref.Val) ref.Val {
	s, ok := why.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(why)
	}
	return types.WrapErr(failure(s))
}

// templates are the marks of the template languages that forwarders have: Mustache, Jinja, Go and Handlebars ({{ }}, {% %},
// <no value>), shells and JavaScript (${ }), Logic Apps (@{ }), Ruby (#{ }), Splunk ($name$) and Falco (%{ }, <NA>).
var templates = regexp.MustCompile(`\{\{|\}\}|\{%|%\}|[$@#%]\{|\$[A-Za-z_][A-Za-z0-9_.]*\$|<no value>|<NA>`)

// unfilled reports whether a text has such a mark, or is what languages write for a value that is not there. A value that is no text
// counts as filled in.
func unfilled(value ref.Val) ref.Val {
	s, ok := value.(types.String)
	if !ok {
		return types.False
	}
	switch text := strings.TrimSpace(string(s)); text {
	case "", "undefined", "null", "None", "nil", "<nil>", "[object Object]":
		return types.True
	default:
		return types.Bool(templates.MatchString(text))
	}
}

// literalFail holds fail to fixed texts: its error is shown, and nothing of an event may be.
type literalFail struct{}

// Name implements cel.ASTValidator.
func (literalFail) Name() string { return "rekey.validator.literal_fail" }

// Validate implements cel.ASTValidator.
func (literalFail) Validate(_ *cel.Env, _ cel.ValidatorConfig, a *ast.AST, issues *cel.Issues) {
	for _, call := range ast.MatchDescendants(ast.NavigateAST(a), ast.FunctionMatcher(funcFail)) {
		if args := call.AsCall().Args(); len(args) != 1 || args[0].Kind() != ast.LiteralKind {
			issues.ReportErrorAtID(call.ID(), "fail takes a text in quotes, as it is shown in the dead letter")
		}
	}
}

// refusal is the text with which a rule has refused an event; "" where something else has erred.
func refusal(err error) string {
	f, _ := errors.AsType[failure](err)
	return string(f)
}

// credentialKind says what a text is, as credential.Identify does. A text that is too long for a credential is opaque.
func credentialKind(text ref.Val) ref.Val {
	s, ok := text.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(text)
	}
	if len(s) > credential.MaxTokenBytes {
		return types.String(credential.Opaque)
	}
	return types.String(credential.Identify(string(s)).Kind)
}
