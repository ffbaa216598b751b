package kinds

import (
	"encoding/json"
	"net/url"

	"rekey/internal/secret"
)

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
