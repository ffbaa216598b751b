package kinds

import (
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
