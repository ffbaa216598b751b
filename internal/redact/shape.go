package redact

import (
	"encoding/base64"
	"encoding/json"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"

	"rekey/internal/secret"
)

// Mark stands for a credential in a text that may be shown, and lets people recognise it.
func Mark(v secret.Value) string { return "[redacted " + v.Fingerprint() + "]" }

// Scrub returns a text that may be shown: without the known secrets, and without anything that looks like one.
func Scrub(text string, known ...secret.Value) string {
	return hide(text, Mark, Find(text), NewSet(known...))
}

// Exposed reports whether a text shows a credential for certain: one of these secrets, or what nothing else looks like.
func Exposed(text string, known ...secret.Value) bool {
	return Certain(text) || hide(text, Mark, nil, NewSet(known...)) != text
}

// ReplaceShapes returns the text with a mark instead of everything that looks like a credential.
func ReplaceShapes(text []byte) []byte {
	spans := Find(string(text))
	if len(spans) == 0 {
		return text
	}
	return []byte(hide(string(text), Mark, spans))
}

// hide replaces spans of a text, and what is in the sets. What overlaps is one secret: each alone could leave a part of it.
func hide(text string, by func(secret.Value) string, spans []Span, sets ...*Set) string {
	values := map[Span]secret.Value{}
	for _, s := range sets {
		for span, value := range s.find(text) {
			spans = append(spans, span)
			values[span] = value
		}
	}
	spans = Merge(text, spans)
	if len(spans) == 0 {
		return text
	}
	var b strings.Builder
	at := 0
	for _, span := range spans {
		value, known := values[span]
		if !known {
			value = secret.New(text[span.From:span.To])
		}
		b.WriteString(text[at:span.From])
		b.WriteString(by(value))
		at = span.To
	}
	b.WriteString(text[at:])
	return b.String()
}

const (
	// shortestKnown is the length in bytes from which a known secret is looked for in a text: a shorter one would be
	// found everywhere.
	shortestKnown = 6
	// telling is how many bytes at the beginning of a secret are enough to recognise it, behind what all of its kind begin
	// with: who repeats a long one may have cut it.
	telling = 8
)

// leads are what secrets of a kind begin with.
var leads = []string{"mdb_sa_sk_", "whsec_", "hvs.", "hvb."}

// Set are known secrets, in all forms in which they may be repeated: as they are, as in a URL, as in JSON, and inside
// of something in base64, such as a header Authorization. The zero Set is empty. It must not change while it is used.
type Set struct {
	starts map[string][]known // By the first bytes; the longest first.
	short  []known            // What has fewer.
}

// known is a form of a secret.
type known struct {
	form  string
	least int // So much of its beginning tells it.
	value secret.Value
}

// NewSet returns the set of these secrets.
func NewSet(values ...secret.Value) *Set {
	s := &Set{}
	for _, v := range values {
		s.Add(v)
	}
	return s
}

// Add takes in a secret. Of one with several lines each line counts, and of a URL what is secret in it, which its
// host is not.
func (s *Set) Add(v secret.Value) {
	text := v.Reveal()
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		s.addURL(u, v)
		return
	}
	if !strings.ContainsAny(text, "\r\n") {
		s.add(text, v, false)
		return
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
			s.add(line, v, false)
		}
	}
}

// addURL takes in the password of a URL, its path with the query, and what in them is no word.
func (s *Set) addURL(u *url.URL, v secret.Value) {
	const noWord = 12 // Bytes: what is as long and has a digit.
	s.add(u.RequestURI(), v, true)
	password, _ := u.User.Password()
	s.add(password, v, false)
	parts := append(strings.FieldsFunc(u.Path+"/"+u.RawQuery, func(r rune) bool { return strings.ContainsRune("/?&=", r) }), u.User.Username())
	for _, part := range parts {
		if len(part) >= noWord && strings.ContainsAny(part, "0123456789") {
			s.add(part, v, false)
		}
	}
}

func (s *Set) add(text string, v secret.Value, whole bool) {
	if len(text) < shortestKnown {
		return
	}
	for form, least := range formsOf(text) {
		k := known{form: form, least: min(least, len(form)), value: v}
		if whole {
			k.least = len(form)
		}
		if len(form) < telling {
			s.short = append(s.short, k)
			continue
		}
		if s.starts == nil {
			s.starts = map[string][]known{}
		}
		s.starts[form[:telling]] = append(s.starts[form[:telling]], k)
	}
}

// formsOf are the ways in which a secret may be written, each with how much of its beginning tells it.
func formsOf(text string) map[string]int {
	least := telling
	for _, lead := range leads {
		if strings.HasPrefix(text, lead) {
			least += len(lead)
		}
	}
	forms := map[string]int{text: least, url.QueryEscape(text): least, url.PathEscape(text): least}
	if quoted, err := json.Marshal(text); err == nil {
		forms[string(quoted[1:len(quoted)-1])] = least
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			forms[within(encoding, text, before)] = telling + (least-telling)*4/3
		}
	}
	maps.DeleteFunc(forms, func(form string, _ int) bool { return len(form) < shortestKnown })
	return forms
}

// within is the part of an encoding that is the same whatever is before and behind the text: before is how many
// bytes are there, modulo 3.
func within(encoding *base64.Encoding, text string, before int) string {
	encoded := encoding.EncodeToString([]byte(strings.Repeat("\x00", before) + text))
	from := []int{0, 2, 3}[before] // Signs that the bytes before take part in.
	to := (before + len(text)) * 8 / 6
	return encoded[min(from, to):to]
}

// Replace returns a text with something else in the place of each known secret, also where only its beginning is left.
func (s *Set) Replace(text string, by func(secret.Value) string) string {
	return hide(text, by, nil, s)
}

// find yields where known secrets are in a text.
func (s *Set) find(text string) iter.Seq2[Span, secret.Value] {
	return func(yield func(Span, secret.Value) bool) {
		if s == nil {
			return
		}
		for _, k := range s.short {
			for at := 0; ; at += len(k.form) {
				next := strings.Index(text[at:], k.form)
				if next < 0 {
					break
				}
				if at += next; !yield(Span{From: at, To: at + len(k.form)}, k.value) {
					return
				}
			}
		}
		for at := 0; at+telling <= len(text) && len(s.starts) > 0; at++ {
			same, value := longest(s.starts[text[at:at+telling]], text[at:])
			if same == 0 {
				continue
			}
			if !yield(Span{From: at, To: at + same}, value) {
				return
			}
			at += same - 1
		}
	}
}

// longest returns how much of the beginning of a text is that of one of the secrets, at most, and which.
func longest(list []known, text string) (same int, value secret.Value) {
	for _, k := range list {
		n := 0
		for n < min(len(k.form), len(text)) && k.form[n] == text[n] {
			n++
		}
		if n > same && n >= k.least {
			same, value = n, k.value
		}
	}
	return same, value
}

// clone is a set that can be added to while this one is used.
func (s *Set) clone() *Set {
	next := &Set{starts: make(map[string][]known, len(s.starts)), short: slices.Clone(s.short)}
	for start, list := range s.starts {
		next.starts[start] = slices.Clone(list)
	}
	return next
}
