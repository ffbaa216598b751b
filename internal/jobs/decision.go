package jobs

import (
	"errors"
	"slices"
	"strings"

	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// MaxJobsPerEvent is how many jobs one event makes at most, whatever the limits say.
const MaxJobsPerEvent = 10_000

// Decision is what one policy makes of an event.
type Decision struct {
	Policy string
	// Matched says that the policy is about this event. It is false when the policy erred before
	// that was clear.
	Matched bool
	// Why tells a person why the policy does not match.
	Why string
	// Rejection is why the policy asks for nothing although it should; nil when nothing is wrong.
	Rejection *Rejection
	// InClear are the secrets that its expressions found in the event. Where it ended before it had
	// looked at all of the event, they are what could be one.
	InClear []secret.Value
	// Cost is how much of its budget the event took, in steps of CEL.
	Cost   uint64
	DryRun bool
	Limits Limits
}

// Mistakes takes an error apart into the mistakes that it joins.
func Mistakes(err error) []*Malformed {
	var all []*Malformed
	walk(err, func(one error) {
		if m, ok := errors.AsType[*Malformed](one); ok {
			all = append(all, m)
		}
	})
	return all
}

// CheckParamNames returns the mistakes in a set of names of parameters: those that the kind
// does not take, and those that are missing.
func CheckParamNames(kind Kind, names []string) []*Malformed {
	raw := map[string]any{}
	for _, name := range names {
		raw[name] = nil
	}
	_, err := NewParams(kind, raw)
	return slices.DeleteFunc(Mistakes(err), func(m *Malformed) bool {
		// What is wrong with a known parameter is that it has no value here.
		name, _ := strings.CutPrefix(m.Field, "params.")
		return slices.Contains(names, name) && slices.Contains(kinds.Of(kind).ParamNames(), name)
	})
}

// SecretsIn are the secrets in the clear among raw parameters, whatever else is wrong with them.
func SecretsIn(kind Kind, raw map[string]any) []secret.Value {
	var found []secret.Value
	for _, p := range kinds.Of(kind).Secrets() {
		if text, ok := raw[p.Name].(string); ok && text != "" && !IsSealed(text) {
			found = append(found, secret.New(text))
		}
	}
	return found
}
