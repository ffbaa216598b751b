package jobs

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"rekey/internal/credential"
	"rekey/internal/secret"
)

// maxFilePathBytes bounds the path of a token file: PATH_MAX of Linux.
const maxFilePathBytes = 4096

// hex24 is how Atlas writes its ids.
var hex24 = regexp.MustCompile(`^[a-f0-9]{24}$`)

// IsID reports whether a text is an id as Atlas writes them.
func IsID(text string) bool { return hex24.MatchString(text) }

// Params are the validated parameters of a job. Secret ones are held apart, so that no
// encoder, log line or error meets them by accident: Params marshal with fingerprints.
type Params struct {
	plain   map[string]string
	secrets map[string]secret.Value
	// sealed holds, by the name of a secret parameter, the form in which it may be stored. See Open and Seal.
	sealed map[string]string
	// target and key are what these parameters act on, for who has it from the ledger and cannot
	// open them.
	target, key string
	// flaw says why what is sealed can never be opened; nil where that is not known.
	flaw *Malformed
}

// NewParams validates raw parameters (as decoded from JSON or YAML) for a kind. The error
// joins one *Malformed for each mistake; its texts never repeat a value.
func NewParams(kind Kind, raw map[string]any) (Params, error) {
	return newParams(kind, raw, func(name, value string) string {
		if name == ParamToken && !IsSealed(value) {
			return credential.CheckToken(value)
		}
		return ""
	})
}

// CarriedParams is NewParams for the parameters of a job that exists, as Carried returns them. A token that the rule of
// today does not let in comes as far as its attempt, so that its job ends with a result.
func CarriedParams(kind Kind, raw map[string]any) (Params, error) {
	return newParams(kind, raw, func(string, string) string { return "" })
}

// newParams validates parameters. check says what else is wrong with the value of one, or nothing.
func newParams(kind Kind, raw map[string]any, check func(name, value string) string) (Params, error) {
	p := Params{plain: map[string]string{}, secrets: map[string]secret.Value{}, sealed: map[string]string{}}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		if len(problems) == mostMistakes {
			problems = append(problems, &Malformed{Field: "params", Detail: "has more mistakes than these"})
			break
		}
		if err := p.set(kind, name, raw[name], check); err != nil {
			problems = append(problems, err)
		}
	}
	for _, name := range missing(kind, raw) {
		problems = append(problems, &Malformed{Field: "params." + name, Detail: "required by " + string(kind)})
	}
	if kind == TokenRevoke {
		if err := exactlyOneToken(raw); err != nil {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return Params{}, err
	}
	return p, nil
}

func missing(kind Kind, raw map[string]any) []string {
	var names []string
	for _, name := range idParams[kind] {
		if _, ok := raw[name]; !ok {
			names = append(names, name)
		}
	}
	return names
}

func exactlyOneToken(raw map[string]any) error {
	given := 0
	for _, name := range tokenParams() {
		if _, ok := raw[name]; ok {
			given++
		}
	}
	if given != 1 {
		return &Malformed{Field: "params", Detail: "token.revoke needs exactly one of " + strings.Join(tokenParams(), ", ")}
	}
	return nil
}

func (p *Params) set(kind Kind, name string, raw any, check func(name, value string) string) error {
	field := "params." + name
	if !slices.Contains(kind.ParamNames(), name) {
		return &Malformed{
			Field:  "params." + safeName(name),
			Detail: fmt.Sprintf("unknown parameter; %s takes %s", kind, strings.Join(kind.ParamNames(), ", ")),
		}
	}
	value, ok := raw.(string)
	if !ok {
		return &Malformed{Field: field, Detail: "must be a string, not " + jsonType(raw)}
	}
	if detail := cmp.Or(checkParam(name, value), check(name, value)); detail != "" {
		return &Malformed{Field: field, Detail: detail}
	}
	switch {
	case name == ParamTokenSealed || name == ParamToken && IsSealed(value):
		p.sealed[ParamToken] = value
	case name == ParamToken:
		p.secrets[name] = secret.New(value)
	default:
		p.plain[name] = value
	}
	return nil
}

// checkParam says what is wrong with the value of a parameter, or nothing.
func checkParam(name, value string) string {
	switch name {
	case ParamTokenSealed:
		return checkSealed(value)
	case ParamTokenRef:
		if !secret.IsReference(value) {
			return "must name a secret in a store, as in vault:PATH#FIELD"
		}
	case ParamToken:
		if IsSealed(value) {
			return checkSealed(value)
		}
	case ParamTokenFile:
		if !filepath.IsAbs(value) {
			return "must be an absolute path on the worker"
		}
		if len(value) > maxFilePathBytes {
			return fmt.Sprintf("has %d bytes; the limit is %d", len(value), maxFilePathBytes)
		}
		if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return "must not contain control characters"
		}
	default:
		if !hex24.MatchString(value) {
			return "must be 24 lower-case hexadecimal digits"
		}
	}
	return ""
}

// Get returns a parameter that is no secret, or "".
func (p Params) Get(name string) string { return p.plain[name] }

// Secret returns a secret parameter, or the zero Value.
func (p Params) Secret(name string) secret.Value { return p.secrets[name] }

// Shown returns the parameters as they may be shown: secrets as fingerprints.
func (p Params) Shown() map[string]string {
	shown := maps.Clone(p.plain)
	if shown == nil {
		shown = map[string]string{}
	}
	for _, name := range p.secretNames() {
		shown[name] = p.shownSecret(name)
	}
	return shown
}

// MarshalJSON encodes what Shown returns.
func (p Params) MarshalJSON() ([]byte, error) { return json.Marshal(p.Shown()) }

// String shows what Shown returns.
func (p Params) String() string { return fmt.Sprint(p.Shown()) }

// GoString shows what Shown returns.
func (p Params) GoString() string { return p.String() }

func jsonType(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case float64, json.Number, int, int64, uint64:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	case map[string]any:
		return "an object"
	}
	return "another type"
}

// safeName makes a field name from outside fit for messages: somebody may have put the
// secret where the name belongs.
func safeName(name string) string {
	const most = 40
	plain := len(name) <= most && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
	})
	if plain && name != "" {
		return name
	}
	return fmt.Sprintf("(a name of %d bytes)", len(name))
}
