// Package sealing replaces the secrets in a document by their sealed forms.
package sealing

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"rekey/internal/credential"
	"rekey/internal/redact"
	"rekey/internal/secret"
)

// Sealer seals secrets.
type Sealer interface {
	Seal(value secret.Value) (string, error)
}

// Document is one document while its secrets are sealed.
type Document struct {
	sealer Sealer
	known  *redact.Set
	names  []string
	sealed map[string]string // The same secret twice is the same text, so that a policy sees that.
	found  []secret.Value    // Texts that are secrets as a whole.
	says   map[string]bool   // Whether the name of a member says that its value is a secret: an array has one name for all that is in it.
	most   int
	size   int // Of the sealed forms in the document, in bytes.
}

// ErrTooLarge says that the sealed secrets of a document take more bytes than it may have.
var ErrTooLarge = errors.New("the document is too large with its secrets sealed")

// New returns what seals the secrets of a document. known are the process's own secrets, which it may repeat; names are members whose
// values are sealed whatever they look like. most is how many bytes the sealed secrets may take: a secret of ten bytes becomes one of more than a hundred.
func New(sealer Sealer, known *redact.Set, names []string, most int) *Document {
	return &Document{sealer: sealer, known: known, names: names, sealed: map[string]string{}, says: map[string]bool{}, most: most}
}

// Found has texts sealed that are secrets as a whole, as policies know.
func (s *Document) Found(values []secret.Value) { s.found, s.size = append(s.found, values...), 0 }

// Value returns decoded JSON with every secret in it sealed: what looks like a credential, what the name of its member says to be
// one, what Found has named, the members of the configuration, and the process's own secrets. All else stays, for policies to read.
func (s *Document) Value(value any) (any, error) { return s.value("", value) }

func (s *Document) value(name string, value any) (any, error) {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, one := range v {
			hidden, err := s.text("", key)
			if err != nil {
				return nil, err
			}
			if out[hidden], err = s.value(key, one); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			var err error
			if out[i], err = s.value(name, one); err != nil {
				return nil, err
			}
		}
		return out, nil
	case string:
		return s.text(name, v)
	case json.Number:
		hidden, err := s.text(name, v.String())
		if err == nil && hidden == v.String() {
			return v, nil
		}
		return hidden, err
	}
	return value, nil
}

// text returns a text with its secrets sealed. A credential as a whole stays one word, which a policy can hand to a job.
func (s *Document) text(name, text string) (string, error) {
	spans := redact.Find(text)
	switch {
	case text == "" || strings.HasPrefix(text, "rekey-seal.") && len(spans) == 0:
		return text, nil
	case s.named(name, text), isCredential(text, spans), slices.ContainsFunc(s.found, func(v secret.Value) bool { return v.Reveal() == text }):
		return s.one(text)
	}
	var b strings.Builder
	at := 0
	for _, span := range spans {
		hidden, err := s.one(text[span.From:span.To])
		if err != nil {
			return "", err
		}
		b.WriteString(text[at:span.From])
		b.WriteString(hidden)
		at = span.To
	}
	b.WriteString(text[at:])
	out := b.String()
	if redact.Exposed(out, s.known) {
		return s.one(text)
	}
	return out, nil
}

// named reports whether the name of a member says that its value is a secret, and the value may be one: "revoked" is none.
func (s *Document) named(name, text string) bool {
	switch {
	case name == "":
		return false
	case slices.Contains(s.names, name):
		return true
	}
	says, ok := s.says[name]
	if !ok {
		says = foundBehind(name, someSecret)
		s.says[name] = says
	}
	return says && foundBehind(name, text)
}

// someSecret has the look of no credential: it is found by the name of its member alone.
const someSecret = "f4k3-0paque.v4lue"

// foundBehind reports whether something in the value of a member is found.
func foundBehind(name, text string) bool {
	key, keyErr := json.Marshal(name)
	value, valueErr := json.Marshal(text)
	if errors.Join(keyErr, valueErr) != nil {
		return true
	}
	pair := "{" + string(key) + ":" + string(value) + "}"
	return slices.ContainsFunc(redact.Find(pair), func(found redact.Span) bool { return found.To > len(key)+len("{:") })
}

// isCredential reports whether a text is one credential as a whole, and no sentence or document with one in it.
func isCredential(text string, spans []redact.Span) bool {
	text = strings.TrimSpace(text)
	if len(text) > credential.MaxTokenBytes {
		return false
	}
	kind := credential.Identify(text).Kind
	isWord := !strings.ContainsAny(text, " \t\r\n")
	switch kind { //nolint:exhaustive // The rest is no secret, or is found by its parts.
	case credential.JWT:
		return true
	case credential.APIKey, credential.PEM:
		return kind == credential.APIKey || len(spans) > 0
	case credential.ServiceAccountSecret, credential.Foreign, credential.Encoded, credential.ConnectionString:
		return isWord && (len(spans) > 0 || kind == credential.ServiceAccountSecret)
	}
	return false
}

// one seals one secret.
func (s *Document) one(text string) (string, error) {
	sealed, ok := s.sealed[text]
	if !ok {
		var err error
		if sealed, err = s.sealer.Seal(secret.New(text)); err != nil {
			return "", err
		}
		s.sealed[text] = sealed
	}
	if s.size += len(sealed); s.size > s.most {
		return "", ErrTooLarge
	}
	return sealed, nil
}
