package secret

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"rekey/internal/credential"
)

// Mark stands for a credential in a text that may be shown, and lets people recognise it.
func Mark(v Value) string { return "[redacted " + v.Fingerprint() + "]" }

// Scrub returns a text that may be shown: without the known secrets, and without what has the look of one.
func Scrub(text string, known ...Value) string {
	return string(ReplaceShapes([]byte(NewSet(known...).Replace(text, Mark))))
}

// ReplaceShapes returns the text with a mark instead of everything with the look of a credential.
func ReplaceShapes(text []byte) []byte {
	return []byte(credential.Replace(string(text), func(found string) string { return Mark(New(found)) }))
}

const (
	// shortestKnown is the length in bytes from which a known secret is looked for in a text: a shorter one would be
	// found everywhere.
	shortestKnown = 6
	// telling is how many bytes at the beginning of a secret are enough to recognise it: who repeats a long one may
	// have cut it.
	telling = 8
)

// Set are known secrets, in all forms in which they may be repeated: as they are, as in a URL, as in JSON, and inside
// of something in base64, such as a header Authorization. The zero Set is empty. It must not change while it is used.
type Set struct {
	starts map[string][]known // By the first bytes; the longest first.
	short  []known            // What has fewer.
}

// known is a form of a secret.
type known struct {
	form  string
	value Value
	whole bool // Its beginning alone tells nothing.
}

// NewSet returns the set of these secrets.
func NewSet(values ...Value) *Set {
	s := &Set{}
	for _, v := range values {
		s.Add(v)
	}
	return s
}

// Add takes in a secret. Of one with several lines each line counts, and of a URL what is secret in it: its host is known
// to everybody.
func (s *Set) Add(v Value) {
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
func (s *Set) addURL(u *url.URL, v Value) {
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

func (s *Set) add(text string, v Value, whole bool) {
	if len(text) < shortestKnown {
		return
	}
	for _, form := range formsOf(text) {
		k := known{form: form, value: v, whole: whole}
		if len(form) < telling {
			s.short = append(s.short, k)
			continue
		}
		if s.starts == nil {
			s.starts = map[string][]known{}
		}
		list := append(s.starts[form[:telling]], k)
		slices.SortStableFunc(list, func(a, b known) int { return len(b.form) - len(a.form) })
		s.starts[form[:telling]] = list
	}
}

// formsOf are the ways in which a secret may be written, each once.
func formsOf(text string) []string {
	forms := []string{text, url.QueryEscape(text), url.PathEscape(text)}
	if quoted, err := json.Marshal(text); err == nil {
		forms = append(forms, string(quoted[1:len(quoted)-1]))
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			forms = append(forms, within(encoding, text, before))
		}
	}
	slices.Sort(forms)
	return slices.DeleteFunc(slices.Compact(forms), func(form string) bool { return len(form) < shortestKnown })
}

// within is the part of an encoding that is the same whatever stands before and behind the text: before is how many
// bytes stand there, modulo 3.
func within(encoding *base64.Encoding, text string, before int) string {
	encoded := encoding.EncodeToString([]byte(strings.Repeat("\x00", before) + text))
	from := []int{0, 2, 3}[before] // Signs that the bytes before take part in.
	to := (before + len(text)) * 8 / 6
	return encoded[min(from, to):to]
}

// Replace returns a text with something else in the place of each known secret, also where only its beginning is left.
func (s *Set) Replace(text string, by func(Value) string) string {
	if s == nil {
		return text
	}
	for _, k := range s.short {
		if strings.Contains(text, k.form) {
			text = strings.ReplaceAll(text, k.form, by(k.value))
		}
	}
	if len(s.starts) == 0 {
		return text
	}
	var b strings.Builder
	from := 0
	for at := 0; at+telling <= len(text); {
		list, found := s.starts[text[at:at+telling]]
		if !found {
			at++
			continue
		}
		same, value := longest(list, text[at:])
		if same == 0 {
			at++
			continue
		}
		b.WriteString(text[from:at])
		b.WriteString(by(value))
		at += same
		from = at
	}
	if from == 0 {
		return text
	}
	b.WriteString(text[from:])
	return b.String()
}

// longest returns how much of the beginning of a text is that of one of the secrets, at most, and which.
func longest(list []known, text string) (same int, value Value) {
	for _, k := range list {
		n := 0
		for n < min(len(k.form), len(text)) && k.form[n] == text[n] {
			n++
		}
		if n > same && (n == len(k.form) || !k.whole) {
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
