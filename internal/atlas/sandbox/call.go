package sandbox

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxBody bounds the body of a request, in bytes.
const maxBody = 64 << 10

// call is one request on its way through the sandbox.
type call struct {
	at      time.Time
	id      string
	request *http.Request
	route   *route // Nil for an unknown operation.
	params  map[string]string
	// allow is the method that an unknown operation would have needed, if any.
	allow string
	// form is the body of an OAuth call. A body that is no form leaves formProblem, which is for
	// the caller and does not repeat the body.
	form        url.Values
	formProblem string
	// body is that of a call of the Admin API whose handler wants it.
	body []byte
	// account is set once the caller has proved who it is, and secretID the secret that proved it.
	account  *account
	secretID string
	// version is the resource version that the Admin API answers with.
	version string
	// header is for every answer to this call.
	header http.Header
	// entry is the call's line in the journal. The lock of the Sandbox guards it.
	entry *Request
}

// arrive reads the request and writes it into the journal.
func (s *Sandbox) arrive(w http.ResponseWriter, r *http.Request) *call {
	c := &call{at: s.now(), request: r, header: http.Header{}}
	path := r.URL.EscapedPath()
	c.route, c.params, c.allow = find(s.routes, r.Method, path)
	if c.oauth() {
		c.form, c.formProblem = readForm(w, r)
	} else if c.route != nil && c.route.body {
		c.body = readBody(w, r)
	}
	c.entry = &Request{
		At: c.at, Operation: c.operation(), Method: r.Method, Path: path[:min(len(path), maxPath)], Auth: authScheme(r),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal.add(c.entry)
	c.id = fmt.Sprintf("sandbox-%08d", s.journal.count)
	c.entry.ID = c.id
	return c
}

// operation names the operation of the call.
func (c *call) operation() string {
	switch {
	case c.route != nil:
		return c.route.operation
	case c.request.URL.Path == redirectPath:
		return OperationRedirected
	default:
		return OperationUnknown
	}
}

// oauth says whether the call is answered in the way of OAuth.
func (c *call) oauth() bool {
	return strings.HasPrefix(c.request.URL.Path, "/api/oauth/")
}

// authScheme names the way in which the request authenticates.
func authScheme(r *http.Request) string {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch scheme = strings.ToLower(scheme); scheme {
	case AuthBasic, AuthBearer, AuthDigest:
		return scheme
	default:
		return AuthNone
	}
}

// readForm reads a body of application/x-www-form-urlencoded, or says what is wrong with it.
func readForm(w http.ResponseWriter, r *http.Request) (form url.Values, problem string) {
	mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(mediaType), "application/x-www-form-urlencoded") {
		return nil, "The Content-Type must be application/x-www-form-urlencoded."
	}
	if r.Body == nil { // A RoundTripper in tests may pass on a request of a client as it is.
		return nil, "The body is missing."
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, "The body could not be read or is too large."
	}
	form, err = url.ParseQuery(string(body))
	if err != nil {
		return nil, "The body is not form-encoded."
	}
	for name, values := range form {
		// RFC 6749 section 3.2: parameters must not be included more than once.
		if len(values) > 1 {
			return nil, fmt.Sprintf("The parameter %.40q occurs more than once.", name)
		}
	}
	return form, ""
}

// perform does what the request asks for, under the lock.
func (s *Sandbox) perform(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(s.now())
	switch {
	case c.operation() == OperationRedirected:
		return c.reply(http.StatusOK, "application/json", map[string]any{})
	case c.route == nil && c.allow != "":
		c.header.Set("Allow", c.allow)
		return c.refuse(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "The method is not allowed for this resource.")
	case c.route == nil:
		return c.refuse(http.StatusNotFound, codeNotFound, "Cannot find resource "+c.entry.Path+".", c.entry.Path)
	case c.route.oauth:
		return c.route.act(c)
	default:
		return s.admin(c)
	}
}

// deliver writes the answer. The journal has it before the caller does, so that a test that has
// its answer finds it there.
func (s *Sandbox) deliver(w http.ResponseWriter, c *call, a answer) {
	s.record(c, a.status, "")
	a.write(w, c)
}

// record notes in the journal what the call is answered with, and by which fault.
func (s *Sandbox) record(c *call, status int, fault string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.entry.Status = status
	c.entry.Fault = cmp.Or(fault, c.entry.Fault) // A lie is noted already.
	if c.account != nil {
		c.entry.Account = c.account.id
	}
}

// maxRequests is how many requests the journal keeps.
const maxRequests = 10_000

// maxPath is how much of a path the journal keeps, in bytes.
const maxPath = 512

// Ways to authenticate, as Request.Auth names them.
const (
	AuthNone   = "none"
	AuthBasic  = "basic"
	AuthBearer = "bearer"
	AuthDigest = "digest"
)

// Request is one call that the sandbox received. It holds no body, no query and no credentials.
type Request struct {
	// ID is what the answer had in X-Request-Id.
	ID string `json:"id"`
	// At is when the request arrived.
	At time.Time `json:"at"`
	// Operation is one of the Operation constants.
	Operation string `json:"operation"`
	Method    string `json:"method"`
	// Path is the path, cut at 512 bytes.
	Path string `json:"path"`
	// Status is what was answered: 0 while there is no answer, and when a fault withheld it.
	Status int `json:"status"`
	// Auth is how the caller tried to authenticate: none, basic, bearer or digest. Any other
	// scheme counts as none.
	Auth string `json:"auth"`
	// Account is the client id or public key, once it has proved to be genuine.
	Account string `json:"account,omitempty"`
	// Fault is the kind of the fault that applied, if any.
	Fault string `json:"fault,omitempty"`
}

// journal holds the last requests in the order of arrival. The lock of the Sandbox guards it and
// the requests that it points to.
type journal struct {
	requests []*Request
	count    int
}

func (j *journal) add(r *Request) {
	j.count++
	// Twice the limit is held at most, so that moving the rest happens once in maxRequests times.
	if len(j.requests) == 2*maxRequests {
		j.requests = append(make([]*Request, 0, 2*maxRequests), j.requests[maxRequests:]...)
	}
	j.requests = append(j.requests, r)
}

// Requests returns the last 10,000 requests to the API in the order of arrival. It leaves out those
// to /sandbox/.
func (s *Sandbox) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.journal.requests[max(0, len(s.journal.requests)-maxRequests):]
	requests := make([]Request, len(last))
	for i, r := range last {
		requests[i] = *r
	}
	return requests
}
