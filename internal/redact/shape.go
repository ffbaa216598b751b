package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"iter"
	"net/url"
	"slices"
	"strings"

	"rekey/internal/lazyregexp"
	"rekey/internal/secret"
)

// Mark stands for a credential in a text that may be shown, and lets people recognise it.
func Mark(v secret.Value) string { return "[redacted " + v.Fingerprint() + "]" }

// Scrub returns a text that may be shown: without the known secrets, and without anything that looks like one. JSON is looked
// into as a payload is.
func Scrub(text string, known ...*Set) string {
	if isDocument.MatchString(text) {
		clean, _ := Payload([]byte(text), known...)
		return string(clean)
	}
	return hide(text, Mark, Find(text), known...)
}

// isDocument recognises JSON that has members, also where it is cut off.
var isDocument = lazyregexp.New(`^\s*(?:\{|\[\s*[\[{"])`)

// Exposed reports whether a text shows a credential for certain: one of these secrets, or what nothing else looks like.
func Exposed(text string, known ...*Set) bool {
	return Certain(text) || slices.ContainsFunc(known, func(s *Set) bool { return s.shows(text) })
}

// shows reports whether a text has a secret whole, or so much of it that it is no word. A secret that is a word, as weak passwords are, is
// in names of all kinds.
func (s *Set) shows(text string) bool {
	for span, k := range s.find(text) {
		found := text[span.From:span.To]
		if !isPlainWord(found) && (len(found) >= min(longWord, len(k.form)) || looksRandom(found)) {
			return true
		}
	}
	return false
}

// Holds reports whether a message has a credential in one of its texts, whatever the names of their members say.
func Holds(data []byte, known ...*Set) bool {
	pieces, end, _ := scan(data)
	for _, p := range pieces {
		if Scrub(p.text, known...) != p.text {
			return true
		}
	}
	rest := string(data[end:])
	return Scrub(rest, known...) != rest
}

// ReplaceShapes returns the text with a mark instead of everything that looks like a credential, or is known to be one.
func ReplaceShapes(text []byte, known ...*Set) []byte {
	return []byte(hide(string(text), Mark, Find(string(text)), known...))
}

// hide replaces spans of a text, and what is in the sets. What overlaps is one secret: each alone could leave a part of it.
func hide(text string, by func(secret.Value) string, spans []Span, sets ...*Set) string {
	found := map[Span]known{}
	var others []Span
	for _, s := range sets {
		for span, k := range s.find(text) {
			others = append(others, span)
			found[span] = k
		}
	}
	if len(others) > 0 {
		slices.SortFunc(others, func(a, b Span) int { return a.From - b.From })
		spans = append(spans, without(others, leftAlone(text, marks))...)
	}
	spans = Merge(text, spans)
	if len(spans) == 0 {
		return text
	}
	var b strings.Builder
	at := 0
	for _, span := range spans {
		k, isKnown := found[span]
		b.WriteString(text[at:span.From])
		switch {
		case isKnown && k.ours:
			b.WriteString(k.value.String())
		case isKnown:
			b.WriteString(by(k.value))
		default:
			b.WriteString(by(secret.New(text[span.From:span.To])))
		}
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

// Set are known secrets, in all forms in which they may be repeated: as they are, in upper or lower case, as in a URL, as in
// JSON, in hexadecimal digits, inside of something in base64, such as a header Authorization, a UUID without its hyphens, and
// what is behind the lead of its kind.
// The zero Set, and nil, are empty. It must not change while it is used.
type Set struct {
	// ours says that the secrets are the worker's own: their fingerprint is not shown either.
	ours   bool
	starts map[string][]known // By the first bytes; the longest first.
	short  []known            // What has fewer.
}

// known is a form of a secret, in lower case.
type known struct {
	form  string
	least int // So much of its beginning tells it.
	ours  bool
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

// pemBegin is how a block of PEM begins, and those of NATS (.creds files) as well.
const pemBegin = "-----BEGIN "

// Add takes in a secret. Of one with several lines each line counts, of PEM those in its blocks: what is between them are
// comments. Of a URL what is secret in it counts, which its host is not.
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
	inside := !strings.Contains(text, pemBegin)
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "-----") {
			inside = strings.HasPrefix(line, pemBegin)
		} else if inside {
			s.add(line, v, false)
		}
	}
}

func (s *Set) add(text string, v secret.Value, whole bool) {
	if len(text) < shortestKnown {
		return
	}
	for form, least := range formsOf(text) {
		k := known{form: form, least: min(least, len(form)), ours: s.ours, value: v}
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

// isPlainWord reports whether other texts may well have a text in them: short words, without digits.
func isPlainWord(text string) bool {
	return len(text) < longWord && plainWord.MatchString(text)
}

var plainWord = lazyregexp.New(`^(?:[A-Za-z][a-z]*|[A-Z]+)(?:[-_. ](?:[A-Za-z][a-z]*|[A-Z]+))*$`)

const longWord = 16

// formsOf are the ways in which a secret may be written, in lower case, each with how much of its beginning tells it. Percent-
// encoding is taken off before they are looked for.
func formsOf(text string) map[string]int {
	least, rest := telling, ""
	for _, lead := range leads {
		if behind, ok := strings.CutPrefix(text, lead); ok {
			least, rest = least+len(lead), behind
		}
	}
	if begin := strings.ToLower(text[:min(least, len(text))]); isPlain(begin) {
		least = max(least, longWord)
	}
	forms := map[string]int{}
	for _, one := range spellings(text) {
		addForms(forms, one, least)
	}
	if len(rest) >= longWord { // Every reader can put the lead before it.
		addForms(forms, rest, longWord)
	}
	return forms
}

// isPlain reports whether the beginning of a secret may well be in other texts: letters alone, of which words are made, or no more than two
// signs, as zeros in ids.
func isPlain(begin string) bool {
	signs := strings.TrimLeft(begin, begin[:1])
	return strings.Trim(begin, "abcdefghijklmnopqrstuvwxyz") == "" || signs == "" || strings.Trim(signs, begin[:1]+signs[:1]) == ""
}

// addForms adds the encodings of one spelling of a secret.
func addForms(forms map[string]int, one string, least int) {
	add := func(form string, least int) {
		if len(form) >= shortestKnown {
			forms[lower(form)] = least
		}
	}
	add(one, least)
	add(strings.ReplaceAll(one, " ", "+"), least)
	add(hex.EncodeToString([]byte(one)), 2*least)
	if quoted, err := json.Marshal(one); err == nil {
		add(string(quoted[1:len(quoted)-1]), least)
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			add(within(encoding, one, before), telling+(least-telling)*4/3)
		}
	}
}

// spellings are a secret as it is, and a UUID in all ways in which tools write one.
func spellings(text string) []string {
	if !isUUID(text) {
		return []string{text}
	}
	bare := strings.ReplaceAll(text, "-", "")
	return []string{strings.ToLower(text), strings.ToUpper(text), strings.ToLower(bare), strings.ToUpper(bare)}
}

// lower is a text with the letters of ASCII in lower case: every byte stays where it is.
func lower(text string) string {
	changed := []byte(text)
	for i, c := range changed {
		if c >= 'A' && c <= 'Z' {
			changed[i] = c + 'a' - 'A'
		}
	}
	return string(changed)
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
func (s *Set) find(text string) iter.Seq2[Span, known] {
	return func(yield func(Span, known) bool) {
		if s == nil || len(s.starts)+len(s.short) == 0 {
			return
		}
		for _, v := range views(text) {
			for span, k := range s.findIn(lower(v.text)) {
				if !yield(v.at(span), k) {
					return
				}
			}
		}
	}
}

func (s *Set) findIn(text string) iter.Seq2[Span, known] {
	return func(yield func(Span, known) bool) {
		for _, k := range s.short {
			for at := 0; ; at += len(k.form) {
				next := strings.Index(text[at:], k.form)
				if next < 0 {
					break
				}
				if at += next; !yield(Span{From: at, To: at + len(k.form)}, k) {
					return
				}
			}
		}
		for at := 0; at+telling <= len(text) && len(s.starts) > 0; at++ {
			same, k := longest(s.starts[text[at:at+telling]], text[at:])
			if same == 0 {
				continue
			}
			if !yield(Span{From: at, To: at + same}, k) {
				return
			}
			at += same - 1
		}
	}
}

// longest returns how much of the beginning of a text is that of one of the secrets, at most, and which.
func longest(list []known, text string) (same int, found known) {
	for _, k := range list {
		n := 0
		for n < min(len(k.form), len(text)) && k.form[n] == text[n] {
			n++
		}
		if n > same && n >= k.least {
			same, found = n, k
		}
	}
	return same, found
}

// clone is a set that can be added to while this one is used.
func (s *Set) clone() *Set {
	next := &Set{ours: s.ours, starts: make(map[string][]known, len(s.starts)), short: slices.Clone(s.short)}
	for start, list := range s.starts {
		next.starts[start] = slices.Clone(list)
	}
	return next
}
