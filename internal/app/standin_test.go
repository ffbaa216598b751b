package app_test

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
	tokenPath  = "/api/oauth/token"
	revokePath = "/api/oauth/revoke"
	adminPath  = "/api/atlas/"
)

// standIn is an API that answers as the vendor documents it, unless a script says otherwise, and
// remembers what it was asked, and when.
type standIn struct {
	url    string
	closed chan struct{} // Closed when the test is over: nobody waits beyond.

	mu      sync.Mutex // Guards everything below.
	calls   []*call
	scripts map[string][]reply // By a part of the path.
	tokens  int                // Bearer tokens that were issued.
	digest  digestRealm
}

// call is one request and when it was answered.
type call struct {
	at       time.Time // When the request was there, before anything else was done.
	answered time.Time // The moment before the answer was sent; zero when there was none.
	method   string
	uri      string // Path and query.
	header   http.Header
	body     string
}

func (c *call) authorization() string { return c.header.Get("Authorization") }

// reply is what the stand-in does with one request. The zero reply is that of the documentation.
type reply struct {
	status  int
	header  http.Header
	body    string
	held    <-chan struct{}    // It answers when this is closed.
	delay   time.Duration      // It answers after so long.
	reset   bool               // It does not answer but resets the connection.
	raw     string             // It answers with these bytes, which need not be HTTP, and closes the connection.
	forever bool               // It is the last of its script, and never used up.
	write   func(*call) *reply // What it answers depends on the request.
}

func newStandIn(t *testing.T) *standIn {
	t.Helper()
	s := &standIn{closed: make(chan struct{}), scripts: map[string][]reply{}}
	server := httptest.NewServer(s)
	s.url = server.URL
	t.Cleanup(func() {
		close(s.closed)
		server.Close()
	})
	return s
}

// script says how the next requests whose path contains part are answered, in this order. It
// goes for requests that are authenticated, or need not be.
func (s *standIn) script(part string, replies ...reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts[part] = append(s.scripts[part], replies...)
}

// ServeHTTP answers one request.
func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{at: time.Now(), method: r.Method, uri: r.URL.RequestURI(), header: r.Header.Clone()}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The caller is gone.
	}
	c.body = string(body)
	next := s.arrive(c)
	if next.delay > 0 {
		select {
		case <-time.After(next.delay):
		case <-s.closed:
		}
	}
	if next.held != nil {
		select {
		case <-next.held:
		case <-r.Context().Done():
			return
		case <-s.closed:
		}
	}
	if next.reset || next.raw != "" {
		breakOff(w, next.raw)
		return
	}
	s.answer(w, c, next)
}

// arrive remembers the request and returns how it is to be answered.
func (s *standIn) arrive(c *call) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
	if strings.HasPrefix(c.uri, adminPath) {
		if challenge, ok := s.digest.challenge(c); ok {
			return challenge
		}
	}
	for part, replies := range s.scripts {
		if len(replies) == 0 || !strings.Contains(c.uri, part) {
			continue
		}
		next := replies[0]
		if !next.forever {
			s.scripts[part] = replies[1:]
		}
		if next.write != nil {
			next = *next.write(c)
		}
		if next.status == 0 && next.raw == "" {
			documented := s.documented(c)
			documented.held, documented.delay, documented.reset = next.held, next.delay, next.reset
			return documented
		}
		return next
	}
	return s.documented(c)
}

// documented is the good answer to a request. The lock is held.
func (s *standIn) documented(c *call) reply {
	switch {
	case c.method == http.MethodPost && c.uri == tokenPath:
		s.tokens++
		return jsonReply(http.StatusOK, fmt.Sprintf(`{"access_token":"%s","token_type":"Bearer","expires_in":3600}`, bearerToken(s.tokens)))
	case c.method == http.MethodPost && c.uri == revokePath:
		return reply{status: http.StatusOK}
	case c.method == http.MethodDelete && strings.HasSuffix(c.uri, "/userSecurity/customerX509"):
		return jsonReply(http.StatusAccepted, `{"customerX509":{},"ldap":{"authenticationEnabled":false,"authorizationEnabled":false}}`)
	case c.method == http.MethodDelete && strings.HasPrefix(c.uri, adminPath):
		return reply{status: http.StatusNoContent}
	}
	return problem(http.StatusNotFound, "RESOURCE_NOT_FOUND")
}

// bearerToken is the n-th bearer token that a stand-in issues.
func bearerToken(n int) string { return fmt.Sprintf("bt%d.of-a-stand-in", n) }

func (s *standIn) answer(w http.ResponseWriter, c *call, next reply) {
	maps.Copy(w.Header(), next.header)
	s.mu.Lock()
	c.answered = time.Now()
	s.mu.Unlock()
	w.WriteHeader(next.status)
	if _, err := io.WriteString(w, next.body); err != nil {
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

// requests returns copies of the requests so far whose path contains part, in order.
func (s *standIn) requests(part string) []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []call
	for _, c := range s.calls {
		if strings.Contains(c.uri, part) {
			found = append(found, *c)
		}
	}
	return found
}

// authenticated returns the requests whose path contains part, without those that only asked
// for a digest challenge.
func (s *standIn) authenticated(part string) []call {
	return slices.DeleteFunc(s.requests(part), func(c call) bool { return c.authorization() == "" })
}

// await waits until there are n authenticated requests whose path contains part, and returns them.
func (s *standIn) await(t *testing.T, part string, n int) []call {
	t.Helper()
	eventually(t, fmt.Sprintf("%d requests for %s", n, part), func() bool { return len(s.authenticated(part)) >= n })
	return s.authenticated(part)
}

func jsonReply(status int, body string) reply {
	return reply{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: body}
}

// problem is a refusal with the Admin API's error document.
func problem(status int, code string) reply {
	body, err := json.Marshal(map[string]any{
		"error": status, "errorCode": code, "reason": http.StatusText(status), "detail": "The stand-in says so.", "parameters": []any{},
	})
	if err != nil {
		panic(err) // Plain values always have a JSON form.
	}
	return jsonReply(status, string(body))
}

// after adds the header Retry-After.
func (r reply) after(value string) reply {
	r.header = r.header.Clone()
	r.header.Set("Retry-After", value)
	return r
}

// always makes it the answer to all further requests.
func (r reply) always() reply {
	r.forever = true
	return r
}

// holding is a good answer that is given when release is closed.
func holding(release <-chan struct{}) reply { return reply{held: release} }
