package bus

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// secretShapes are credentials that can be told by their look: secrets of Atlas service
// accounts and JSON Web Tokens.
var secretShapes = regexp.MustCompile(`mdb_sa_sk_[A-Za-z0-9_-]+|eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?`)

// secretNames tells from the name of a member that its value is a credential.
var secretNames = regexp.MustCompile(`(?i)token|secret|passw|private_?key|api_?key|authorization|credential`)

// secretPairs finds name and value in text that is no JSON; it errs on the safe side.
var secretPairs = regexp.MustCompile(
	`(?i)("?[a-z_-]*(?:token|secret|passw|private_?key|api_?key|authorization|credential)[a-z_-]*"?\s*[:=]\s*)("(?:[^"\\]|\\.)*"?|[^\s,}]+)`)

// harmlessID is a value that may be an id, if a mistyped one.
var harmlessID = regexp.MustCompile(`^[0-9A-Fa-f-]{0,40}$`)

// redact takes everything that is or may be a credential out of a payload, and reports
// whether there was any. A payload without one comes back unchanged, byte for byte.
func redact(data []byte) ([]byte, bool) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var tree any
	if len(data) > jobs.MaxEventBytes || decoder.Decode(&tree) != nil || decoder.More() {
		return redactText(data)
	}
	r := &redactor{}
	tree = r.value("", tree, harmless)
	if !r.changed {
		return redactShapes(data)
	}
	clean, err := json.Marshal(tree)
	if err != nil {
		return redactText(data)
	}
	for _, value := range r.found {
		clean = bytes.ReplaceAll(clean, jsonText(value), []byte(mark(value)))
	}
	clean, _ = redactShapes(clean)
	return clean, true
}

func redactText(data []byte) ([]byte, bool) {
	clean := secretPairs.ReplaceAll(data, []byte(`${1}"[redacted]"`))
	clean, _ = redactShapes(clean)
	return clean, !bytes.Equal(clean, data)
}

func redactShapes(data []byte) ([]byte, bool) {
	clean := secretShapes.ReplaceAllFunc(data, func(found []byte) []byte { return []byte(mark(string(found))) })
	return clean, !bytes.Equal(clean, data)
}

func mark(value string) string { return "[redacted " + secret.New(value).Fingerprint() + "]" }

// jsonText is how a string stands inside a JSON string.
func jsonText(value string) []byte {
	quoted, err := json.Marshal(value)
	if err != nil {
		return []byte(value)
	}
	return quoted[1 : len(quoted)-1]
}

// redactor walks decoded JSON and remembers the secrets that it took out.
type redactor struct {
	changed bool
	found   []string // Those long enough to be looked for in the rest of the text.
}

// suspicion is how sure a member's place makes us that its value is a credential.
type suspicion int

const (
	harmless suspicion = iota
	possible           // A parameter: a credential may stand under a mistyped name.
	certain            // Its name says so.
)

func (r *redactor) value(name string, v any, s suspicion) any {
	switch v := v.(type) {
	case map[string]any:
		for member, inner := range v {
			v[member] = r.value(member, inner, max(s, suspect(name, member)))
		}
	case []any:
		for i, inner := range v {
			v[i] = r.value(name, inner, s)
		}
	case string:
		if v != "" && (s == certain || s == possible && !harmlessID.MatchString(v)) {
			return r.take(v)
		}
	case json.Number:
		if s == certain {
			return r.take(v.String())
		}
	}
	return v
}

func (r *redactor) take(value string) string {
	const shortest = 6 // A shorter value would match everywhere in the text.
	if len(value) >= shortest && !slices.Contains(r.found, value) {
		r.found = append(r.found, value)
	}
	r.changed = true
	return mark(value)
}

func suspect(parent, member string) suspicion {
	switch {
	case strings.HasSuffix(member, "_file"):
		return harmless
	case secretNames.MatchString(member):
		return certain
	case parent == "params":
		return possible
	}
	return harmless
}
