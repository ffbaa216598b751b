package sandbox

import (
	"io"
	"net/http"
)

// Handler is one operation of the Admin API that a caller adds to the sandbox: the test of a kind of job brings its own.
type Handler struct {
	// Operation is what Request.Operation names it.
	Operation string
	Method    string
	// Path is a template with parameters in braces, each one segment.
	Path string
	// Versions are the resource versions, oldest first.
	Versions []string
	// Answer does the work. The parameters are those of the path, without escapes. A nil document is no body.
	Answer func(params map[string]string, body []byte) (status int, document any)
}

// route is the handler as one of the sandbox's own routes.
func (h Handler) route() route {
	return route{
		operation: h.Operation, method: h.Method, path: h.Path, versions: h.Versions, body: true,
		act: func(c *call) answer {
			status, document := h.Answer(c.params, c.body)
			if document == nil {
				return c.empty(status)
			}
			return c.document(status, document)
		},
	}
}

// readBody reads what a call of the Admin API carries. What is missing or too long is left out, and for the handler to refuse.
func readBody(w http.ResponseWriter, r *http.Request) []byte {
	if r.Body == nil {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil
	}
	return body
}
