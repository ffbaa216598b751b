package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"rekey/internal/jobs"
)

// Limits of expressions. An event comes from outside: whatever it holds, a rule costs
// little time, and memory in proportion.
const (
	maxExprBytes = 8 << 10
	costLimit    = 1_000_000 // In CEL's units; about as many steps. Real rules cost a few hundred.
	maxRange     = 10_000    // Elements that lists.range may make.
	maxRegexSize = 2_000     // Instructions of a regular expression.
	// interruptEvery is after how many steps of a comprehension the timeout is looked at.
	interruptEvery = 1_000
)

// Names of what expressions can use.
const (
	varEvent    = "event"
	varItem     = "item"
	varNow      = "now"
	funcAccount = "accounts.by_client_id"
	funcJSON    = "json.object"
	funcKind    = "credential.kind"
)

// celEvent is an event as expressions see it.
type celEvent struct {
	ID         string            `cel:"id"`
	Source     string            `cel:"source"`
	Type       string            `cel:"type"`
	Subject    string            `cel:"subject"`
	Class      string            `cel:"class"`
	Time       time.Time         `cel:"time"`
	Data       any               `cel:"data"`
	Headers    map[string]string `cel:"headers"`
	Extensions map[string]string `cel:"extensions"`
}

// baseEnv is the environment that all rules share, made when the first rule needs it.
var baseEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(append(failFunctions(),
		cel.OptionalTypes(), cel.EnableMacroCallTracking(),
		ext.Strings(), ext.Lists(ext.ListsMaxRangeSize(maxRange)), ext.Sets(), ext.Math(), ext.Regex(),
		ext.Encoders(ext.EncodersVersion(0)), // Later ones parse JSON and YAML at a cost without bound.
		ext.Bindings(), ext.TwoVarComprehensions(),
		cel.Types(cel.NativeTypeFor[celEvent](cel.NativeTypeAlias("rekey.Event"), types.ParseStructTags(true))),
		cel.Variable(varEvent, cel.ObjectType("rekey.Event")),
		cel.Variable(varNow, cel.TimestampType),
		cel.Function(funcJSON, cel.Overload("json_object_string", []*cel.Type{cel.StringType},
			cel.MapType(cel.StringType, cel.DynType), cel.UnaryBinding(parseObject))),
		cel.CostModel(cost.Overload("json_object_string",
			cost.EvalCost(cost.Sum(cost.Const(cost.CallCost), cost.StringScan(cost.Length(cost.Arg(0))))))),
		cel.Function(funcKind, cel.Overload("credential_kind_string", []*cel.Type{cel.StringType}, cel.StringType, cel.UnaryBinding(credentialKind))),
		cel.CostModel(cost.Overload("credential_kind_string",
			cost.EvalCost(cost.Sum(cost.Const(cost.CallCost), cost.StringScan(cost.Length(cost.Arg(0))))))),
		cel.ParserExpressionSizeLimit(maxExprBytes), cel.RegexProgramSizeLimit(maxRegexSize),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(), literalFail{}),
	)...)
})

// parseObject reads a JSON object that an event carries inside a string, as some tools do. It is
// held to the limits of an event, and its errors quote nothing.
func parseObject(text ref.Val) ref.Val {
	s, ok := text.Value().(string)
	if !ok {
		return types.MaybeNoSuchOverloadErr(text)
	}
	doc, err := jobs.ParseDocument([]byte(s))
	if err != nil {
		return types.WrapErr(fmt.Errorf("%s: %w", funcJSON, err))
	}
	return types.DefaultTypeAdapter.NativeToValue(celValue(doc.Fields))
}

// env is where the expressions of one configuration are compiled.
type env struct {
	plain *cel.Env
	item  *cel.Env // Knows item as well.
}

func newEnv(accounts []Account) (*env, error) {
	base, err := baseEnv()
	if err != nil {
		return nil, fmt.Errorf("building the environment of expressions: %w", err)
	}
	plain, err := base.Extend(cel.Function(funcAccount, cel.Overload("accounts_by_client_id_string",
		[]*cel.Type{cel.StringType}, cel.StringType, cel.UnaryBinding(byClientID(accounts)))))
	if err != nil {
		return nil, fmt.Errorf("building the environment of expressions: %w", err)
	}
	item, err := plain.Extend(cel.Variable(varItem, cel.DynType))
	if err != nil {
		return nil, fmt.Errorf("building the environment of expressions: %w", err)
	}
	return &env{plain: plain, item: item}, nil
}

// byClientID finds the account of a service account's id. Ids differ in case with their writers.
func byClientID(accounts []Account) func(ref.Val) ref.Val {
	return func(id ref.Val) ref.Val {
		text, ok := id.Value().(string)
		if !ok {
			return types.MaybeNoSuchOverloadErr(id)
		}
		for _, a := range accounts {
			if a.ClientID != "" && strings.EqualFold(a.ClientID, text) {
				return types.String(a.Name)
			}
		}
		return types.NewErr("no account has this client id")
	}
}

// want is the type that an expression must give.
type want struct {
	name  string
	types []*cel.Type
}

var (
	wantBool   = want{"true or false", []*cel.Type{cel.BoolType}}
	wantText   = want{"a string", []*cel.Type{cel.StringType}}
	wantMoment = want{"a timestamp or a string", []*cel.Type{cel.TimestampType, cel.StringType}}
	wantList   = want{"a list", []*cel.Type{cel.ListType(cel.DynType)}}
)

func (w want) allows(t *cel.Type) bool {
	return t.Kind() == types.DynKind || slices.ContainsFunc(w.types, func(one *cel.Type) bool { return one.Kind() == t.Kind() })
}

// compile parses and type-checks one expression. The text says what is wrong with it, and where.
func compile(in *cel.Env, text Expr, want want) (*program, string) {
	if strings.TrimSpace(string(text)) == "" {
		return nil, "is an empty expression"
	}
	if len(text) > maxExprBytes {
		return nil, fmt.Sprintf("has %d bytes; the limit is %d", len(text), maxExprBytes)
	}
	ast, issues := in.Compile(string(text))
	if issues.Err() != nil {
		return nil, explain(issues) + hint(text, want)
	}
	if !want.allows(ast.OutputType()) {
		detail := fmt.Sprintf("gives %s, but must give %s", cel.FormatCELType(ast.OutputType()), want.name)
		if ast.OutputType().Kind() != types.BoolKind && want.name == wantText.name {
			detail += "; string(…) makes one"
		}
		return nil, detail
	}
	p := &program{text: string(text), want: want, ast: ast}
	var err error
	for run, limit := range map[*cel.Program]uint64{&p.whole: costLimit, &p.begun: costly} {
		if *run, err = in.Program(ast, cel.CostLimit(limit), boundSteep(in),
			cel.InterruptCheckFrequency(interruptEvery), cel.EvalOptions(cel.OptOptimize)); err != nil {
			return nil, "cannot be used: " + err.Error()
		}
	}
	return p, ""
}

// explain makes one line of all that the compiler says, without the drawing below each message.
func explain(issues *cel.Issues) string {
	var lines []string
	for _, e := range issues.Errors() {
		place := fmt.Sprintf("column %d", e.Location.Column()+1)
		if e.Location.Line() > 1 {
			place = fmt.Sprintf("line %d, %s", e.Location.Line(), place)
		}
		// A syntax error lists half the grammar behind this word.
		message, _, _ := strings.Cut(strings.ReplaceAll(e.Message, "\n", " "), " expecting ")
		lines = append(lines, place+": "+message)
		if len(lines) == 3 {
			break // What follows is mostly the echo of the first.
		}
	}
	return strings.Join(lines, "; ")
}

// bareText is what people write who mean a fixed text.
var bareText = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9 ._:/-]*$`)

// hint tells who wrote a text where an expression belongs.
func hint(text Expr, want want) string {
	trimmed := strings.TrimSpace(string(text))
	known := strings.HasPrefix(trimmed, varEvent+".") || strings.HasPrefix(trimmed, varItem)
	if want.name != wantText.name || known || !bareText.MatchString(trimmed) {
		return ""
	}
	return fmt.Sprintf(`; if the text is meant, it needs quotes of its own: '"%s"'`, trimmed)
}
