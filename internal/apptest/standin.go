package apptest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Paths of the API, as its documentation has them.
const (
	TokenPath  = "/api/oauth/token"
	RevokePath = "/api/oauth/revoke"
	AdminPath  = "/api/atlas/"
)

// StandIn is an API that answers as the vendor documents it, unless a script says otherwise, and
// remembers what it was asked, and when.
type StandIn struct {
	URL    string
	closed chan struct{} // Closed when the test is over: no call waits beyond.

	mu      sync.Mutex // Guards everything below.
	calls   []*Call
	scripts map[string][]Reply // By a part of the path.
	tokens  int                // Bearer tokens that were issued.
	digest  digestRealm
}

// Call is one request and when it was answered.
type Call struct {
	At       time.Time // When the request was there, before anything else was done.
	Answered time.Time // The moment before the answer was sent; zero when there was none.
	Method   string
	URI      string // Path and query.
	Header   http.Header
	Body     string
}

// Authorization is that header.
func (c *Call) Authorization() string { return c.Header.Get("Authorization") }

// Reply is what the stand-in does with one request. The zero reply is that of the documentation.
type Reply struct {
	Status  int
	Header  http.Header
	Body    string
	Held    <-chan struct{}    // It answers when this is closed.
	Delay   time.Duration      // It answers after so long.
	Reset   bool               // It does not answer but resets the connection.
	Raw     string             // It answers with these bytes, which need not be HTTP, and closes the connection.
	Forever bool               // It is the last of its script, and never used up.
	Write   func(*Call) *Reply // What it answers depends on the request.
}

// NewStandIn starts a stand-in.
func NewStandIn(t *testing.T) *StandIn {
	t.Helper()
	s := &StandIn{closed: make(chan struct{}), scripts: map[string][]Reply{}}
	server := httptest.NewServer(s)
	s.URL = server.URL
	t.Cleanup(func() {
		close(s.closed)
		server.Close()
	})
	return s
}

// Script says how the next requests whose path contains part are answered, in this order. It
// goes for requests that are authenticated, or need not be.
func (s *StandIn) Script(part string, replies ...Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts[part] = append(s.scripts[part], replies...)
}

// ServeHTTP answers one request.
func (s *StandIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &Call{At: time.Now(), Method: r.Method, URI: r.URL.RequestURI(), Header: r.Header.Clone()}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The caller is gone.
	}
	c.Body = string(body)
	next := s.arrive(c)
	if next.Delay > 0 {
		select {
		case <-time.After(next.Delay):
		case <-s.closed:
		}
	}
	if next.Held != nil {
		select {
		case <-next.Held:
		case <-r.Context().Done():
			return
		case <-s.closed:
		}
	}
	if next.Reset || next.Raw != "" {
		breakOff(w, next.Raw)
		return
	}
	s.answer(w, c, next)
}

// arrive remembers the request and returns how it is to be answered.
func (s *StandIn) arrive(c *Call) Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
	if strings.HasPrefix(c.URI, AdminPath) {
		if challenge, ok := s.digest.challenge(c); ok {
			return challenge
		}
	}
	for part, replies := range s.scripts {
		if len(replies) == 0 || !strings.Contains(c.URI, part) {
			continue
		}
		next := replies[0]
		if !next.Forever {
			s.scripts[part] = replies[1:]
		}
		if next.Write != nil {
			next = *next.Write(c)
		}
		if next.Status == 0 && next.Raw == "" {
			documented := s.documented(c)
			documented.Held, documented.Delay, documented.Reset = next.Held, next.Delay, next.Reset
			return documented
		}
		return next
	}
	return s.documented(c)
}

// documented is the good answer to a request. The lock is held.
func (s *StandIn) documented(c *Call) Reply {
	switch {
	case c.Method == http.MethodPost && c.URI == TokenPath:
		s.tokens++
		return JSONReply(http.StatusOK, fmt.Sprintf(`{"access_token":"%s","token_type":"Bearer","expires_in":3600}`, BearerToken(s.tokens)))
	case c.Method == http.MethodPost && c.URI == RevokePath:
		return Reply{Status: http.StatusOK}
	case c.Method == http.MethodDelete && strings.HasSuffix(c.URI, "/userSecurity/customerX509"):
		return JSONReply(http.StatusAccepted, `{"customerX509":{},"ldap":{"authenticationEnabled":false,"authorizationEnabled":false}}`)
	case c.Method == http.MethodDelete && strings.HasPrefix(c.URI, AdminPath):
		return Reply{Status: http.StatusNoContent}
	}
	return Problem(http.StatusNotFound, "RESOURCE_NOT_FOUND")
}

// BearerToken is the n-th bearer token that a stand-in issues.
func BearerToken(n int) string { return fmt.Sprintf("bt%d.of-a-stand-in", n) }

func (s *StandIn) answer(w http.ResponseWriter, c *Call, next Reply) {
	maps.Copy(w.Header(), next.Header)
	s.mu.Lock()
	c.Answered = time.Now()
	s.mu.Unlock()
	w.WriteHeader(next.Status)
	if _, err := io.WriteString(w, next.Body); err != nil {
		return // The caller is gone.
	}
}

// breakOff writes what there is and ends the connection; with a reset, as a crash does, when
// there is nothing.
func breakOff(w http.ResponseWriter, raw string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err) // A server for HTTP/1.1 can always be hijacked.
	}
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok && raw == "" {
		_ = tcp.SetLinger(0) // Without it the connection would end in good order.
	}
	if _, err := io.WriteString(conn, raw); err != nil {
		return // The caller is gone.
	}
}

// Requests returns copies of the requests so far whose path contains part, in order.
func (s *StandIn) Requests(part string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Call
	for _, c := range s.calls {
		if strings.Contains(c.URI, part) {
			found = append(found, *c)
		}
	}
	return found
}

// Authenticated returns the requests whose path contains part, without those that only asked
// for a digest challenge.
func (s *StandIn) Authenticated(part string) []Call {
	return slices.DeleteFunc(s.Requests(part), func(c Call) bool { return c.Authorization() == "" })
}

// Await waits until there are n authenticated requests whose path contains part, and returns them.
func (s *StandIn) Await(t *testing.T, part string, n int) []Call {
	t.Helper()
	Eventually(t, fmt.Sprintf("%d requests for %s", n, part), func() bool { return len(s.Authenticated(part)) >= n })
	return s.Authenticated(part)
}

// JSONReply is a reply with a body of JSON.
func JSONReply(status int, body string) Reply {
	return Reply{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}
}

// Problem is a refusal with the Admin API's error document.
func Problem(status int, code string) Reply {
	body, err := json.Marshal(map[string]any{
		"error": status, "errorCode": code, "reason": http.StatusText(status), "detail": "The stand-in says so.", "parameters": []any{},
	})
	if err != nil {
		panic(err) // Plain values always have a JSON form.
	}
	return JSONReply(status, string(body))
}

// After adds the header Retry-After.
func (r Reply) After(value string) Reply {
	r.Header = r.Header.Clone()
	r.Header.Set("Retry-After", value)
	return r
}

// Always makes it the answer to all further requests.
func (r Reply) Always() Reply {
	r.Forever = true
	return r
}

// Holding is a good answer that is given when release is closed.
func Holding(release <-chan struct{}) Reply { return Reply{Held: release} }

// RetryAfter is a refusal of a rate limit, or with 503 an outage, with this header Retry-After.
func RetryAfter(status int, value string) Reply { return Problem(status, "STAND_IN").After(value) }
