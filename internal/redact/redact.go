// Package redact finds what may be a credential in texts, and replaces it. It has the list of all shapes.
package redact

import (
	"bytes"
	"cmp"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"rekey/internal/lazyregexp"
	"rekey/internal/secret"
)

// secretNames tells from the name of a member that its value is a credential.
var secretNames = lazyregexp.New(`(?i)token|secret|passw|passphrase|pwd|private[_-]?key|api[_-]?key|authorization|credential`)

// NamesSecret reports whether the name of a member or a header says that its value is a credential.
func NamesSecret(name string) bool { return secretNames.MatchString(name) }

// paramNames tells that parameters are below a member: credentials, maybe, under
// mistyped names.
var paramNames = lazyregexp.New(`(?i)^param(s|eters)?$`)

// secretPairs finds name and value in text that is no JSON; it errs on the safe side.
var secretPairs = lazyregexp.New(
	`(?i)([\w-]*(?:token|secret|passw|private[_-]?key|api[_-]?key|authorization|credential)[\w-]*\\*["']?\s*[:=]+>?\s*(?:(?:bearer|basic|digest)\s+)?)` +
		`("(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,}]+)`)

// paramsTail finds parameters in text that is no JSON. Where they end is not known.
var paramsTail = lazyregexp.New(`(?is)(\bparam(?:s|eters)?\\*["']?\s*[:=]\s*).+`)

// nameEnd is the text between a name and its value.
var nameEnd = lazyregexp.New(`[^\w-]+.*$`)

// harmlessID is a value that may be an id, if a mistyped one.
var harmlessID = lazyregexp.New(`^[0-9A-Fa-f-]{0,40}$`)

// placeholder is a text that is nothing but a mark, or a sealed value.
var placeholder = lazyregexp.New(`^(?:` + harmless.String() + `)$`)

// Limits of the search for credentials.
const (
	redactRounds  = 5   // Rounds until nothing more is found.
	redactNesting = 4   // How deep JSON inside strings of JSON is looked into.
	redactMost    = 100 // A payload with more credentials is not worth a copy.
)

// Lengths, in bytes, of the values that are looked for elsewhere in the payload.
const (
	redactShortest = 6        // A shorter one would match everywhere.
	redactLongest  = 16 << 10 // Longer than any token; the search costs its square.
)

const redactedText = "[redacted]"

// Payload takes everything that is or may be a credential out of a payload, and reports
// whether there was any. A payload without one comes back unchanged, byte for byte. The
// result, redacted again, stays as it is. What is known to be a secret is taken out wherever
// it is.
func Payload(data []byte, known ...*Set) ([]byte, bool) {
	clean := data
	for range redactRounds {
		r := &redactor{found: map[string]bool{}, known: known}
		next := r.payload(clean, 0)
		if len(r.found) > redactMost {
			break
		}
		if bytes.Equal(next, clean) {
			return clean, !bytes.Equal(clean, data)
		}
		clean = next
	}
	return []byte(`"` + redactedText + `"`), true
}

// MarkText stands for a credential and lets people recognise it.
func MarkText(value string) string { return Mark(secret.New(value)) }

// redactor takes credentials out and remembers those that are long enough to be looked for
// in the rest of the payload.
type redactor struct {
	found map[string]bool
	known []*Set
}

func (r *redactor) remember(value string) {
	if len(value) >= redactShortest && len(value) <= redactLongest {
		r.found[value] = true
	}
}

// text takes credentials out of text that is no JSON.
func (r *redactor) text(data []byte) []byte {
	clean := secretPairs.ReplaceAllFunc(data, func(pair []byte) []byte {
		parts := secretPairs.FindSubmatch(pair)
		name, value := string(parts[1]), string(parts[2])
		quote := ""
		if value[0] == '"' || value[0] == '\'' {
			quote = value[:1]
		}
		bare := strings.Trim(value, quote)
		if bare == "" || isMark(bare) || isFile(nameEnd.ReplaceAllString(name, ""), bare) {
			return pair
		}
		r.remember(bare)
		return []byte(name + quote + redactedText + quote)
	})
	return r.spread(clean)
}

// isMark recognises what an earlier round left, or the part of it that a pair ends with.
func isMark(value string) bool {
	return placeholder.MatchString(value) || strings.HasPrefix(value, strings.TrimSuffix(redactedText, "]"))
}

// isFile reports whether a member names a file, or an entry of a store, that holds a credential.
func isFile(name, value string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, "_file") && filepath.IsAbs(value) || strings.HasSuffix(name, "_ref") && secret.IsReference(value)
}

// spread takes out what has the look of a credential, and what was found elsewhere.
func (r *redactor) spread(data []byte) []byte {
	clean := ReplaceShapes(data, r.known...)
	if len(r.found) == 0 || len(r.found) > redactMost {
		return clean
	}
	var pairs []string
	// The longer first: one may be a part of the other.
	for _, value := range slices.SortedFunc(maps.Keys(r.found), func(a, b string) int {
		return cmp.Or(len(b)-len(a), strings.Compare(a, b))
	}) {
		pairs = append(pairs, value, MarkText(value))
	}
	// In one pass, so that no mark is looked into.
	return []byte(strings.NewReplacer(pairs...).Replace(string(clean)))
}

// Header returns the value of a header without secrets: nothing of it where its name says that it is one.
func Header(key, value string, known ...*Set) string {
	if secretNames.MatchString(key) && value != "" {
		return MarkText(value)
	}
	return string(ReplaceShapes([]byte(value), known...))
}
