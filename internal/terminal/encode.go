package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Form is how a value is written.
type Form string

// The forms. The first two are tables.
const (
	FormTable Form = "table"
	FormWide  Form = "wide"
	FormJSON  Form = "json"
	FormJSONL Form = "jsonl" // A line for each element of a list.
	FormYAML  Form = "yaml"
)

// Forms are all of them.
func Forms() []Form { return []Form{FormTable, FormWide, FormJSON, FormJSONL, FormYAML} }

// IsTable reports whether the form is for people.
func (f Form) IsTable() bool { return f == FormTable || f == FormWide }

// Encode writes a value in a form for programs. The names are those of its JSON.
func Encode(out io.Writer, f Form, value any) error {
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false)
	if f == FormJSON {
		encoder.SetIndent("", "  ")
	}
	if err := encoder.Encode(value); err != nil {
		return err
	}
	text := escaped(data.Bytes(), inJSON)
	switch f {
	case FormJSONL:
		return encodeLines(out, text)
	case FormYAML:
		return encodeYAML(out, escaped(data.Bytes(), inYAML))
	case FormJSON, FormTable, FormWide:
	}
	_, err := out.Write(text)
	return err
}

// escaped writes letters that are not printable as a form escapes them between double quotes: a text that came from outside steers
// no terminal, by a control sequence that begins with U+009B or by turning the direction of what is read.
func escaped(text []byte, escape func(rune) string) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		if steers(r) {
			out = append(out, escape(r)...)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

// inJSON escapes a letter as JSON does, in units of UTF-16, and inYAML as YAML does, which knows no pairs of them.
func inJSON(r rune) string {
	if r <= 0xffff {
		return fmt.Sprintf(`\u%04x`, r)
	}
	high, low := utf16.EncodeRune(r)
	return fmt.Sprintf(`\u%04x\u%04x`, high, low)
}

func inYAML(r rune) string { return fmt.Sprintf(`\U%08x`, r) }

// steers reports whether a letter is beyond ASCII and not printable. What is below, the encoders escape.
func steers(r rune) bool { return r > unicode.MaxASCII && !unicode.IsPrint(r) }

// encodeLines writes the elements of a list, and what is none as it is.
func encodeLines(out io.Writer, data []byte) error {
	var list []json.RawMessage
	if !bytes.HasPrefix(data, []byte("[")) {
		_, err := out.Write(data)
		return err
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	for _, one := range list {
		if _, err := fmt.Fprintf(out, "%s\n", one); err != nil {
			return err
		}
	}
	return nil
}

// encodeYAML writes JSON as YAML, of which it is a part, in the order of its keys.
func encodeYAML(out io.Writer, data []byte) error {
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		return err
	}
	unquote(&node)
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return err
	}
	if err := encoder.Close(); err != nil {
		return err
	}
	_, err := out.Write(escaped(text.Bytes(), inYAML))
	return err
}

// unquote takes away the brackets and quotes of JSON, but those of what is escaped. The encoder quotes what would be another type.
func unquote(n *yaml.Node) {
	n.Style = 0
	if strings.ContainsFunc(n.Value, steers) {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, child := range n.Content {
		unquote(child)
	}
}
