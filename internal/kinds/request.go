package kinds

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"rekey/internal/secret"
)

// Ask is one request of a job that takes several.
type Ask struct {
	Method string
	Resource
	// Set is the endpoint set whose rate bucket it draws on.
	Set Set
	// Value returns the values in the path.
	Value Values
	Body  Body
	// Success are the statuses of a success.
	Success []int
}

// Told is the answer to an Ask that succeeded.
type Told struct {
	Status   int
	Document []byte // Its body, a JSON object; nil where the API sends none.
	// Date is the time by the API's clock; zero where it does not say it.
	Date time.Time
}

// parts takes a template apart: its texts, and the names of the parameters between them.
func parts(template string) (texts, names []string) {
	for {
		before, rest, found := strings.Cut(template, "{")
		texts = append(texts, before)
		if !found {
			return texts, names
		}
		name, after, _ := strings.Cut(rest, "}")
		names, template = append(names, name), after
	}
}

// fill puts values in the place of parameters, and reports whether there was one for each.
func fill(template string, value Values) (text string, whole bool) {
	texts, names := parts(template)
	var b strings.Builder
	whole = true
	for i, name := range names {
		v := value(name)
		whole = whole && v != ""
		b.WriteString(texts[i])
		b.WriteString(v)
	}
	b.WriteString(texts[len(texts)-1])
	return b.String(), whole
}

// Fill returns the path with escaped values: a name such as CN=a/b is one segment of it.
func (r Resource) Fill(value Values) string {
	text, _ := fill(r.Path, func(name string) string {
		if v := value(name); v != "." && v != ".." {
			return url.PathEscape(v)
		}
		return strings.ReplaceAll(value(name), ".", "%2E") // Else it would name another resource.
	})
	return text
}

// Body is what a request carries.
type Body struct {
	MediaType string
	Text      string
	// Made are secrets in it that no parameter has, such as a password that was made up: no text may show them.
	Made []secret.Value
}

// form is a body as HTML forms send it.
func form(values url.Values) Body {
	return Body{MediaType: "application/x-www-form-urlencoded", Text: values.Encode()}
}

// document is a body in JSON, of the version of the resource that it changes.
func document(r Resource, content any) (Body, error) {
	text, err := json.Marshal(content)
	return Body{MediaType: r.Accept(), Text: string(text)}, err
}
