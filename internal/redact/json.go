package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"

	"rekey/internal/lazyregexp"
)

// redactDepth bounds how deep objects and arrays are followed.
const redactDepth = 1000

// paramName is what can be the name of a parameter, if a mistyped one.
var paramName = lazyregexp.New(`^[A-Za-z0-9_.-]{1,40}$`)

// suspicion is how sure a place makes us that a value is a credential.
type suspicion int

const (
	unsuspected suspicion = iota
	possible              // A parameter: a credential may have a mistyped name.
	certain               // Its name says so.
)

// below is the suspicion against the value of a member.
func (s suspicion) below(member string) suspicion {
	switch {
	case secretNames.MatchString(member):
		return certain
	case paramNames.MatchString(member):
		return max(s, possible)
	}
	return s
}

// piece is one string of a JSON text, or a number that is a credential.
type piece struct {
	from, to  int // Its place.
	text      string
	key       bool
	top       bool   // It is the whole text.
	member    string // The member whose value it is.
	suspicion suspicion
}

// level is an object or array on the way to the scanner.
type level struct {
	object bool
	key    bool // A member's name comes next.
	member string
	outer  suspicion // Against all that it holds.
	next   suspicion // Against the value that comes next.
}

// scanner splits JSON into pieces and remembers their place, so that what is
// harmless stays as it was written: members that are there twice, numbers, white space.
type scanner struct {
	data    []byte
	decoder *json.Decoder
	levels  []level
	pieces  []piece
}

// scan returns the pieces of data, where the part that is JSON ends, and the suspicion
// against its content.
func scan(data []byte) ([]piece, int, suspicion) {
	s := &scanner{data: data, decoder: json.NewDecoder(bytes.NewReader(data)), levels: make([]level, 1)}
	s.decoder.UseNumber()
	for {
		from := int(s.decoder.InputOffset())
		token, err := s.decoder.Token()
		if err != nil || len(s.levels) > redactDepth {
			return s.pieces, from, s.level().next
		}
		s.take(token, from, int(s.decoder.InputOffset()))
	}
}

func (s *scanner) level() *level { return &s.levels[len(s.levels)-1] }

func (s *scanner) take(token json.Token, from, to int) {
	switch token := token.(type) {
	case json.Delim:
		if token == '{' || token == '[' {
			in := s.level()
			s.levels = append(s.levels, level{object: token == '{', key: token == '{', member: in.member, outer: in.next, next: in.next})
			return
		}
		s.levels = s.levels[:len(s.levels)-1]
	case string:
		if s.level().key {
			s.add(piece{text: token, key: true, suspicion: s.level().outer}, from, to)
			l := s.level()
			l.key, l.member, l.next = false, token, l.outer.below(token)
			return
		}
		s.add(piece{text: token, suspicion: s.level().next, top: len(s.levels) == 1}, from, to)
	case json.Number:
		if s.level().next == certain { // Others are ids at most.
			s.add(piece{text: token.String(), suspicion: certain}, from, to)
		}
	}
	l := s.level() // A value has ended.
	l.key, l.next = l.object, l.outer
}

func (s *scanner) add(p piece, from, to int) {
	gap := s.data[from:to]
	p.from = from + len(gap) - len(bytes.TrimLeft(gap, " \t\r\n,:"))
	p.to, p.member = to, s.level().member
	s.pieces = append(s.pieces, p)
}

// payload takes credentials out of JSON, or of other text.
func (r *redactor) payload(data []byte, nesting int) []byte {
	pieces, end, open := scan(data)
	taken := make([]string, len(pieces))
	for i, p := range pieces {
		taken[i] = r.inspect(p, nesting)
	}
	var clean []byte
	at := 0
	for i, p := range pieces {
		text := taken[i]
		if !placeholder.MatchString(text) {
			text = string(r.spread([]byte(text)))
		}
		if text != p.text {
			clean = append(append(clean, data[at:p.from]...), quoted(text)...)
			at = p.to
		}
	}
	clean = append(clean, data[at:end]...)
	rest := data[end:]
	switch {
	case len(bytes.TrimSpace(rest)) == 0:
		return append(clean, rest...)
	case open > unsuspected:
		return r.text(append(clean, `"`+redactedText+`"`...))
	}
	rest = paramsTail.ReplaceAll(rest, []byte(`${1}"`+redactedText+`"`))
	return r.text(append(clean, rest...))
}

// inspect returns the replacement of a piece because of its place or inside.
func (r *redactor) inspect(p piece, nesting int) string {
	switch {
	case p.text == "" || placeholder.MatchString(p.text) || !p.key && isFile(p.member, p.text):
		return p.text
	case p.key && p.suspicion > unsuspected && !paramName.MatchString(p.text),
		!p.key && p.suspicion == certain,
		!p.key && p.suspicion == possible && !harmlessID.MatchString(p.text):
		r.remember(p.text)
		return MarkText(p.text)
	case p.key:
		return p.text
	case p.member == "data_base64":
		return r.encoded(p.text, nesting)
	case p.top || isDocument.MatchString(p.text):
		return r.nested(p.text, nesting)
	}
	return p.text
}

// nested looks into text inside a string.
func (r *redactor) nested(text string, nesting int) string {
	if nesting >= redactNesting {
		return MarkText(text)
	}
	return string(r.payload([]byte(text), nesting+1))
}

// encoded looks into the data of a CloudEvent. Data that cannot be decoded is of no use.
func (r *redactor) encoded(text string, nesting int) string {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return MarkText(text)
	}
	if clean := r.nested(string(data), nesting); clean != string(data) {
		return base64.StdEncoding.EncodeToString([]byte(clean))
	}
	return text
}

// quoted is text as a JSON string.
func quoted(text string) []byte {
	data, err := json.Marshal(text)
	if err != nil {
		return []byte(`"` + redactedText + `"`)
	}
	return data
}
