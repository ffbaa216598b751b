package api

import (
	"errors"
	"mime"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"rekey/internal/httpserver"
	"rekey/internal/jobs"
)

// maxText bounds free texts, in bytes.
const maxText = 1024

// body reads the body of a request, once the client is known to be one that may send it.
func (c *call) body() ([]byte, error) {
	if encoding := c.r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, problem(http.StatusUnsupportedMediaType, CodeMediaType, "the body must not be compressed")
	}
	data, release, err := c.bodies.Read(c.w, c.r, jobs.MaxEventBytes)
	if why, unread := errors.AsType[*httpserver.Unread](err); unread {
		return nil, problemOfBody(why.Status)
	}
	c.release = release
	return data, err
}

// problemOfBody is why a body was not read, by the status of the answer.
func problemOfBody(status int) *Problem {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return problem(status, CodeTooLarge, "the body has more than 1048576 bytes")
	case http.StatusRequestTimeout:
		return problem(status, CodeTooSlow, "the body did not come within "+readTimeout.String())
	case http.StatusServiceUnavailable:
		return unavailable("too many bodies are being read: send the request again")
	}
	return problem(status, CodeMalformed, "the body ended early")
}

// mediaType is the content type of the body without its parameters; "" of two, of which others may read the second one.
func (c *call) mediaType() string {
	if len(c.r.Header.Values("Content-Type")) > 1 {
		return ""
	}
	media, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return ""
	}
	return media
}

// object reads a body that is a JSON object.
func (c *call) object() (jobs.Document, error) {
	if c.mediaType() != "application/json" {
		c.w.Header().Set("Accept-Post", "application/json")
		return jobs.Document{}, problem(http.StatusUnsupportedMediaType, CodeMediaType, "the header Content-Type must be application/json")
	}
	data, err := c.body()
	if err != nil {
		return jobs.Document{}, err
	}
	doc, err := jobs.ParseDocument(data)
	if err != nil {
		return doc, mistakes(http.StatusBadRequest, CodeMalformed, err)
	}
	return doc, nil
}

// Operation is the body of what is done to a job or a dead letter. It may be left out.
type Operation struct {
	Reason string `json:"reason,omitempty"` // Free text, recorded.
}

// operation reads what is to be recorded of an operation.
func (c *call) operation(action jobs.Action) (jobs.Operation, error) {
	op := jobs.Operation{Action: action, By: c.client.Name}
	if c.r.ContentLength == 0 {
		return op, nil
	}
	doc, err := c.object()
	if err != nil {
		return op, err
	}
	for name, value := range doc.Fields {
		text, ok := value.(string)
		switch {
		case name != "reason":
			return op, mistakes(http.StatusUnprocessableEntity, CodeInvalid, &jobs.Malformed{Field: safe(name), Line: doc.Line(name), Detail: "unknown field; the only one is reason"})
		case !ok || len(text) > maxText || !isLine(text):
			return op, mistakes(http.StatusUnprocessableEntity, CodeInvalid, &jobs.Malformed{Field: name, Line: doc.Line(name), Detail: "must be a text of up to 1024 bytes without control characters"})
		}
		op.Reason = c.fleet.Discreet(text)
	}
	return op, nil
}

// safe is the name of a member as it may be shown: a client may have put a secret there.
func safe(name string) string {
	if len(name) > 40 || !isLine(name) {
		return ""
	}
	return name
}

func isLine(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
