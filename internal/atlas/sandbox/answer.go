package sandbox

import (
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
)

// Error codes of the Admin API that more than one place needs.
const (
	codeNotFound    = "RESOURCE_NOT_FOUND"
	codeRateLimited = "RATE_LIMITED_TOKEN_BUCKET"
)

// answer is what a call comes to, before anything is written.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// adminError is an error of the Admin API, as the vendor documents it. A refused
// authentication has no code and no parameters.
type adminError struct {
	Error      int    `json:"error"`
	ErrorCode  string `json:"errorCode,omitempty"`
	Reason     string `json:"reason"`
	Detail     string `json:"detail"`
	Parameters []any  `json:"parameters,omitzero"`
}

// oauthError is an error of RFC 6749 section 5.2.
type oauthError struct {
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
}

// reply answers with a JSON document. Marshalling cannot fail: all documents are our own types.
func (c *call) reply(status int, contentType string, document any) answer {
	body, err := json.Marshal(document)
	if err != nil {
		panic("sandbox: a document of its own is not JSON: " + err.Error())
	}
	header := maps.Clone(c.header)
	header.Set("Content-Type", contentType)
	return answer{status: status, header: header, body: body}
}

// empty answers without a body.
func (c *call) empty(status int) answer {
	return answer{status: status, header: maps.Clone(c.header)}
}

// document answers the Admin API with a document of the resource version that was asked for.
func (c *call) document(status int, document any) answer {
	contentType := "application/json"
	if c.version != "" {
		contentType = vendorType + c.version + "+json;charset=utf-8"
	}
	return c.reply(status, contentType, document)
}

// refuse answers with an error of the Admin API.
func (c *call) refuse(status int, code, detail string, parameters ...any) answer {
	if parameters == nil && code != "" {
		parameters = []any{}
	}
	return c.reply(status, "application/json", adminError{
		Error: status, ErrorCode: code, Reason: http.StatusText(status), Detail: detail, Parameters: parameters,
	})
}

// refuseOAuth answers with an error of the OAuth endpoints.
func (c *call) refuseOAuth(status int, code, description string) answer {
	a := c.reply(status, "application/json", oauthError{Error: code, ErrorDescription: description})
	a.header.Set("Cache-Control", "no-store")
	return a
}

// write sends the answer with the headers that every answer has.
func (a answer) write(w http.ResponseWriter, c *call) {
	a.writeHeader(w, c)
	// An error means that the caller is gone. No client is left to answer.
	_, _ = w.Write(a.body)
}

// writeHeader sends everything but the body. The length is that of the whole body, so that a
// body that is cut is known to be.
func (a answer) writeHeader(w http.ResponseWriter, c *call) {
	maps.Copy(w.Header(), a.header)
	w.Header().Set("X-Request-Id", c.id)
	if a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
}
