package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what is read as an event.
const (
	// MaxEventBytes is the largest payload of an event that is decoded.
	MaxEventBytes = 1 << 20
	// maxDepth is how deep objects and arrays may nest.
	maxDepth = 32
	// maxMemberPathBytes bounds the paths whose lines are remembered. What Rekey reads has short
	// names; long ones above many members would cost memory as the square of the payload.
	maxMemberPathBytes = 128
)

// untracked stands for a path whose lines are not remembered.
const untracked = "\x00"

// Document is decoded JSON that remembers on which line each of its members
// is, so that a mistake can be shown where it was made.
type Document struct {
	Value  any            // What was decoded.
	Fields map[string]any // The same where it is an object, else nil.
	start  int            // The line on which it begins.
	lines  map[string]int
}

// Byte order marks. That of UTF-8 says nothing and is passed over.
const (
	markUTF8    = "\xef\xbb\xbf"
	markUTF16BE = "\xfe\xff"
	markUTF16LE = "\xff\xfe"
)

// ParseDocument decodes one JSON object, as ParseJSON does.
func ParseDocument(data []byte) (Document, error) {
	doc, err := ParseJSON(data)
	if err == nil {
		err = doc.Object("")
	}
	return doc, err
}

// Object reports, as a *Malformed of a field ("" for the whole payload), that the document is no object.
func (d Document) Object(field string) error {
	if d.Fields == nil {
		return &Malformed{Field: field, Line: d.start, Detail: "must be a JSON object, not " + jsonType(d.Value)}
	}
	return nil
}

// CheckSize reports, as a *Malformed, that a payload is larger than any that is read as an event.
func CheckSize(data []byte) error {
	if len(data) > MaxEventBytes {
		return &Malformed{Detail: fmt.Sprintf("the payload has %d bytes; the limit is %d", len(data), MaxEventBytes)}
	}
	return nil
}

// ParseJSON decodes one JSON value strictly: valid UTF-8, no member twice, bounded size and depth,
// nothing behind it. The error is a *Malformed with the line.
func ParseJSON(data []byte) (Document, error) {
	if err := CheckSize(data); err != nil {
		return Document{}, err
	}
	if bytes.HasPrefix(data, []byte(markUTF16BE)) || bytes.HasPrefix(data, []byte(markUTF16LE)) {
		return Document{}, &Malformed{Line: 1, Detail: "is UTF-16; JSON must be UTF-8"}
	}
	if at := invalidUTF8(data); at >= 0 {
		return Document{}, &Malformed{Line: lineAt(data, at), Detail: fmt.Sprintf("invalid UTF-8 at byte %d", at)}
	}
	whole := len(data)
	data = bytes.TrimPrefix(data, []byte(markUTF8))
	if len(bytes.TrimSpace(data)) == 0 {
		return Document{}, &Malformed{Detail: "the payload is empty"}
	}
	r := &documentReader{data: data, skipped: whole - len(data), decoder: json.NewDecoder(bytes.NewReader(data)), lines: map[string]int{}}
	r.decoder.UseNumber()
	value, err := r.value("", 0)
	if err != nil {
		return Document{}, r.explain(err)
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		return Document{}, &Malformed{Line: r.line(), Detail: "there is text after the JSON object"}
	}
	start := bytes.IndexFunc(data, func(r rune) bool { return !unicode.IsSpace(r) })
	doc := Document{Value: value, start: lineAt(data, start), lines: r.lines}
	doc.Fields, _ = value.(map[string]any) //nolint:errcheck // Nil for other values.
	return doc, nil
}

// Line returns the line, from 1, on which the member with this path (a.b.c) is, or 0.
func (d Document) Line(path string) int { return d.lines[path] }

// Member returns what is below member name as a Document whose paths start anew.
func (d Document) Member(name string) Document {
	inner := Document{Value: d.Fields[name], start: d.Line(name), lines: map[string]int{}}
	inner.Fields, _ = inner.Value.(map[string]any) //nolint:errcheck // Nil for other values.
	for path, line := range d.lines {
		if rest, ok := strings.CutPrefix(path, name+"."); ok {
			inner.lines[rest] = line
		}
	}
	return inner
}

// locate gives every *Malformed in err the line of its field, or of the object that the
// field is missing from.
func (d Document) locate(err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			d.locate(one)
		}
		return
	}
	if m, ok := errors.AsType[*Malformed](err); ok && m.Line == 0 {
		m.Line = d.nearest(m.Field)
	}
}

// nearest returns the line of the member with this path, or of the innermost one around it.
func (d Document) nearest(path string) int {
	for {
		line, known := d.lines[path]
		end := strings.LastIndexByte(path, '.')
		if known {
			return line
		}
		if end < 0 {
			return d.start
		}
		path = path[:end]
	}
}

type documentReader struct {
	data    []byte
	skipped int // Bytes before data.
	decoder *json.Decoder
	lines   map[string]int

	counted  int // Bytes whose line breaks are counted.
	newlines int // Line breaks among them.
}

// line is the line of the decoder. It goes on counting from where it was asked last:
// a payload has up to half a million members.
func (r *documentReader) line() int {
	at := int(r.decoder.InputOffset())
	r.newlines += bytes.Count(r.data[r.counted:at], []byte{'\n'})
	r.counted = at
	return 1 + r.newlines
}

func (r *documentReader) value(path string, depth int) (any, error) {
	token, err := r.decoder.Token()
	if err != nil {
		return nil, err
	}
	if _, nests := token.(json.Delim); nests && depth == maxDepth {
		return nil, &Malformed{Line: r.line(), Detail: fmt.Sprintf("nested more than %d deep", maxDepth)}
	}
	switch token {
	case json.Delim('{'):
		return r.object(path, depth)
	case json.Delim('['):
		return r.array(path, depth)
	}
	return token, nil
}

func (r *documentReader) object(path string, depth int) (any, error) {
	fields := map[string]any{}
	for r.decoder.More() {
		token, err := r.decoder.Token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok {
			return nil, &Malformed{Line: r.line(), Detail: "a member's name must be a string"}
		}
		below := pathBelow(path, name)
		if _, twice := fields[name]; twice {
			return nil, &Malformed{Field: safeName(name), Line: r.line(), Detail: "is there twice"}
		}
		if below != untracked {
			r.lines[below] = r.line()
		}
		if fields[name], err = r.value(below, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := r.decoder.Token()
	return fields, err
}

func pathBelow(path, name string) string {
	switch {
	case path == untracked || name == "" || len(path)+len(name) >= maxMemberPathBytes:
		return untracked
	case path == "":
		return name
	}
	return path + "." + name
}

func (r *documentReader) array(path string, depth int) (any, error) {
	list := []any{}
	for r.decoder.More() {
		item, err := r.value(path, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	_, err := r.decoder.Token()
	return list, err
}

// explain turns the decoder's errors into ours, without repeating the value.
func (r *documentReader) explain(err error) error {
	if m, ok := errors.AsType[*Malformed](err); ok {
		return m
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Malformed{Line: lineAt(r.data, len(r.data)), Detail: "the JSON ends too early"}
	}
	at := int(r.decoder.InputOffset())
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = max(int(s.Offset)-1, at)
	}
	return &Malformed{Line: lineAt(r.data, at), Detail: fmt.Sprintf("is no JSON (byte %d)", at+r.skipped)}
}

func lineAt(data []byte, offset int) int {
	return 1 + bytes.Count(data[:min(max(offset, 0), len(data))], []byte{'\n'})
}

func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return -1
}
