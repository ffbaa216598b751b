package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// maxFilePathBytes bounds the path of a token file: PATH_MAX of Linux.
const maxFilePathBytes = 4096

// Params are the validated parameters of a job. Secret ones are held apart, so that no
// encoder, log line or error meets them by accident: Params marshal with fingerprints.
type Params struct {
	plain   map[string]string
	secrets map[string]secret.Value
	// sealed holds, by the name of a secret parameter, the form in which it may be stored. See Open and Seal.
	sealed map[string]string
	// hidden are secrets that these parameters were made of, and clear is the name under which one of them was given in the clear.
	hidden []secret.Value
	clear  string
	// target and key are what these parameters act on, for who has it from the ledger and cannot
	// open them.
	target, key string
	// flaw says why what is sealed can never be opened; nil where that is not known.
	flaw *Malformed
}

// NewParams validates raw parameters (as decoded from JSON or YAML) for a kind. The error
// joins one *Malformed for each mistake; its texts never repeat a value.
func NewParams(kind Kind, raw map[string]any) (Params, error) {
	return newParams(kind, raw, func(p kinds.Param, value string) string { return p.Shape.Check(value) })
}

// CarriedParams is NewParams for the parameters of a job that exists, as Carried returns them. A secret that the rule of
// today does not let in comes as far as its attempt, so that its job ends with a result.
func CarriedParams(kind Kind, raw map[string]any) (Params, error) {
	return newParams(kind, raw, func(kinds.Param, string) string { return "" })
}

// newParams validates parameters. check says what is wrong with a secret in the clear, or nothing.
func newParams(kind Kind, raw map[string]any, check func(p kinds.Param, value string) string) (Params, error) {
	p := Params{plain: map[string]string{}, secrets: map[string]secret.Value{}, sealed: map[string]string{}}
	declared := kinds.Of(kind)
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		if len(problems) == mostMistakes {
			problems = append(problems, &Malformed{Field: "params", Detail: "has more mistakes than these"})
			break
		}
		if err := p.set(declared, name, raw[name], check); err != nil {
			problems = append(problems, err)
		}
	}
	problems = append(problems, missing(declared, raw)...)
	if err := errors.Join(problems...); err != nil {
		return Params{}, err
	}
	for _, one := range declared.Params {
		if _, given := raw[one.Name]; !given && one.Default != "" {
			p.plain[one.Name] = one.Default
		}
	}
	return p, nil
}

// missing reports what a job of the kind needs and does not have, or has twice.
func missing(kind kinds.Kind, raw map[string]any) []error {
	var problems []error
	require := func(names []string) {
		for _, name := range names {
			if _, ok := raw[name]; !ok {
				problems = append(problems, &Malformed{Field: "params." + name, Detail: "required by " + string(kind.Name)})
			}
		}
	}
	given := func(name string) bool { _, ok := raw[name]; return ok }
	require(kind.Required())
	for _, choice := range kind.Needs() {
		chosen := slices.DeleteFunc(slices.Clone(choice), func(names []string) bool { return !slices.ContainsFunc(names, given) })
		if len(chosen) == 1 {
			require(chosen[0])
			continue
		}
		problems = append(problems, &Malformed{Field: "params", Detail: string(kind.Name) + " needs exactly one of " + choice.Text(", ")})
	}
	return problems
}

func (p *Params) set(kind kinds.Kind, name string, raw any, check func(p kinds.Param, value string) string) error {
	field := "params." + name
	param, suffix, ok := kind.Param(name)
	if !ok {
		return &Malformed{
			Field:  "params." + safeName(name),
			Detail: fmt.Sprintf("unknown parameter; %s takes %s", kind.Name, strings.Join(kind.ParamNames(), ", ")),
		}
	}
	value, ok := raw.(string)
	if !ok {
		return &Malformed{Field: field, Detail: "must be a string, not " + jsonType(raw)}
	}
	if param.Secret && suffix == "" && IsSealed(value) {
		suffix = kinds.SuffixSealed
	}
	if detail := checkParam(param, suffix, value, check); detail != "" {
		return &Malformed{Field: field, Detail: detail}
	}
	switch {
	case suffix == kinds.SuffixSealed:
		p.sealed[param.Name] = value
	case param.Secret && suffix == "":
		p.secrets[name] = secret.New(value)
	default:
		p.plain[name] = value
	}
	return nil
}

// checkParam says what is wrong with the value of a parameter that is given in this way, or nothing.
func checkParam(p kinds.Param, suffix, value string, check func(p kinds.Param, value string) string) string {
	switch {
	case suffix == kinds.SuffixSealed:
		return checkSealed(value)
	case suffix == kinds.SuffixReference:
		if !secret.IsReference(value) {
			return "must name a secret in a store, as in vault:PATH#FIELD"
		}
		return ""
	case suffix == kinds.SuffixFile:
		return checkFile(value)
	case p.Secret:
		return check(p, value)
	case strings.Contains(value, sealedPrefix): // The call would be about another name.
		return "has a part that looks like a credential and was sealed on its way: ask for it over NATS, or with worker job submit"
	}
	return p.Shape.Check(value)
}

// checkFile says what is wrong with the path of a file that has a secret, or nothing.
func checkFile(path string) string {
	switch {
	case !filepath.IsAbs(path):
		return "must be an absolute path on the worker"
	case len(path) > maxFilePathBytes:
		return fmt.Sprintf("has %d bytes; the limit is %d", len(path), maxFilePathBytes)
	case !utf8.ValidString(path) || strings.ContainsFunc(path, unicode.IsControl):
		return "must not contain control characters"
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

// safeName makes a field name from outside fit for messages: a sender may have put the
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
