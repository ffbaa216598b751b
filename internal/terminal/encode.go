package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

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
	switch f {
	case FormJSONL:
		return encodeLines(out, data.Bytes())
	case FormYAML:
		return encodeYAML(out, data.Bytes())
	case FormJSON, FormTable, FormWide:
	}
	_, err := out.Write(data.Bytes())
	return err
}

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
	plain(&node)
	encoder := yaml.NewEncoder(out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return err
	}
	return encoder.Close()
}

// plain takes away the brackets and quotes of JSON. The encoder quotes what would be another type.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		plain(child)
	}
}
