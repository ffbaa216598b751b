package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"rekey/internal/config"
)

// Person is who looks at pages.
type Person struct {
	*Client
	// Name is what is recorded of what the person does: the name of the client and, where the issuer or the proxy says it, that of
	// the person behind a slash, which no client's name has.
	Name string
	// Leaves says that there is a session, which Leave ends.
	Leaves bool
}

// Marker makes keyed hashes of texts with the keys of the fleet, and confirms them.
type Marker interface {
	Mark(purpose, text string) (string, error)
	Confirm(purpose, text, mark string) error
}

// The purposes of marks.
const (
	markSession = "console session"
	markToken   = "console token"
	markLogin   = "console login"
)

// Defaults, where the configuration says nothing.
const (
	defaultIdle    = 30 * time.Minute
	defaultSession = 12 * time.Hour
)

// seenAgain is how old the moment in a cookie may be at which the person was seen last.
const seenAgain = time.Minute

// session is what a cookie says. It is signed with a key of the fleet, so that every worker knows it, also after a restart.
type session struct {
	ID     string    `json:"id"`
	Client string    `json:"client"`
	Person string    `json:"person,omitempty"`
	Proof  string    `json:"proof"` // Ties it to the token, or the claims, of the client: it ends with these.
	Began  time.Time `json:"began"`
	Seen   time.Time `json:"seen"`
}

// Sessions recognise persons, and remember them in cookies. Its methods may be called from several goroutines at once.
type Sessions struct {
	// Clients are those of the configuration that is in force.
	Clients func() *Roster
	Marker  Marker
	// Now is the time that workers share.
	Now func() time.Time
	// Ended keeps the sessions that have ended.
	Ended Ended

	mu      sync.Mutex           // Guards what follows, and is held while it is read: once for all that wait.
	ended   map[string]time.Time // As it was read last.
	endedAt time.Time
}

// Ended keeps the sessions that a person has ended, for all workers.
type Ended interface {
	// End adds a session. It is kept until a moment, from which on its cookie cannot be used any more.
	End(ctx context.Context, id string, until time.Time) error
	// All are the sessions that have ended.
	All(ctx context.Context) (map[string]time.Time, error)
}

// endedKept is how old may be what is known of ended sessions: so long one that was ended at another worker goes on here.
const endedKept = time.Second

// ErrUnknown says that it cannot be found out who asks.
var ErrUnknown = errors.New("it is not known which sessions have ended")

// Errors of a session that a reader learns.
var (
	errNoSession = errors.New("log in to see this page")
	errEnded     = errors.New("the session has ended")
)

// Person is who sent a request. The error says why that is not known.
func (s *Sessions) Person(w http.ResponseWriter, r *http.Request) (*Person, error) {
	roster := s.Clients()
	if person, ok := roster.proxied(r); ok {
		if person == nil {
			return nil, errors.New("no client has the claims of the person whom the proxy names")
		}
		return person, nil
	}
	cookie, err := r.Cookie(s.cookieName(r))
	switch {
	case err == nil:
		return s.resume(w, r, roster, cookie.Value)
	case r.TLS != nil && len(r.TLS.VerifiedChains) > 0:
		client, err := roster.byCertificate(r.TLS.VerifiedChains[0][0])
		if err != nil {
			return nil, err
		}
		return &Person{Client: client, Name: client.Name}, nil
	}
	return nil, errNoSession
}

// proxied is the person whom a trusted proxy names, and whether it names one.
func (r *Roster) proxied(req *http.Request) (*Person, bool) {
	p := r.console.Proxy
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	users := req.Header.Values(p.UserHeader)
	if err != nil || p.UserHeader == "" || !p.IsTrusted(host) || len(users) == 0 {
		return nil, false
	}
	claims := map[string]any{"user": users[0]}
	if p.GroupsHeader != "" {
		var groups []any
		for _, line := range req.Header.Values(p.GroupsHeader) {
			for group := range strings.SplitSeq(line, ",") {
				groups = append(groups, strings.TrimSpace(group))
			}
		}
		claims["groups"] = groups
	}
	client := r.withClaims(claims)
	if client == nil || len(users) > 1 || !isName(users[0]) {
		return nil, true
	}
	return &Person{Client: client, Name: client.Name + "/" + users[0]}, true
}

// maxName bounds the name of a person, in bytes.
const maxName = 256

// isName reports whether the name of a person can be recorded.
func isName(name string) bool {
	return name != "" && len(name) <= maxName && strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) < 0
}

// withClaims is the first client that a person with these claims has.
func (r *Roster) withClaims(claims map[string]any) *Client {
	for _, c := range r.clients {
		if len(c.Claims) > 0 && hasClaims(claims, c.Claims) {
			return c
		}
	}
	return nil
}

// resume is the person of a cookie, which is made anew when it is used.
func (s *Sessions) resume(w http.ResponseWriter, r *http.Request, roster *Roster, value string) (*Person, error) {
	var one session
	if err := s.open(markSession, value, &one); err != nil {
		return nil, err
	}
	now, c := s.Now(), roster.console
	client := roster.named(one.Client)
	switch {
	case now.Sub(one.Seen) > cmp.Or(c.Idle, defaultIdle), now.Sub(one.Began) > cmp.Or(c.Session, defaultSession), one.Seen.Sub(now) > seenAgain, client == nil:
		return nil, errEnded
	}
	if err := s.goesOn(r.Context(), one.ID); err != nil {
		return nil, err
	}
	if err := s.tied(client, one.Proof); err != nil {
		return nil, err
	}
	// A live page is no sign of the person.
	if now.Sub(one.Seen) >= seenAgain && r.Header.Get("Accept") != "text/event-stream" {
		one.Seen = now
		if err := s.keep(w, r, one, c); err != nil {
			return nil, err
		}
	}
	return one.of(client), nil
}

// of is the person of a session.
func (one session) of(client *Client) *Person {
	person := &Person{Client: client, Name: client.Name, Leaves: true}
	if one.Person != "" {
		person.Name += "/" + one.Person
	}
	return person
}

// tied reports, as an error, that a client has not the token, or the claims, any more with which a session began.
func (s *Sessions) tied(client *Client, proof string) error {
	if text, ok := strings.CutPrefix(proof, "claims:"); ok {
		if text == digest(client.Claims) {
			return nil
		}
		return errEnded
	}
	if client.tokens == nil {
		return errEnded
	}
	var problem error
	for _, sum := range client.tokens.latest() {
		if problem = s.Marker.Confirm(markToken, hex.EncodeToString(sum[:]), proof); problem == nil {
			return nil
		}
	}
	return errEnded
}

// digest tells one mapping of claims from another one.
func digest(claims map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		fmt.Fprintf(h, "%q=%q\n", name, claims[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// LogIn begins a session with the token of a client. The error is for the log.
func (s *Sessions) LogIn(w http.ResponseWriter, r *http.Request, token string) (*Person, error) {
	client, err := s.Clients().byToken(r, token)
	if err != nil {
		return nil, err
	}
	if client.tokens == nil {
		return nil, errors.New("the client has no token of its own: log in at the issuer")
	}
	sum := sha256.Sum256([]byte(token))
	proof, err := s.Marker.Mark(markToken, hex.EncodeToString(sum[:]))
	if err != nil {
		return nil, err
	}
	return s.begin(w, r, client, "", proof)
}

// begin begins a session.
func (s *Sessions) begin(w http.ResponseWriter, r *http.Request, client *Client, person, proof string) (*Person, error) {
	now := s.Now()
	one := session{ID: rand.Text(), Client: client.Name, Person: person, Proof: proof, Began: now, Seen: now}
	if err := s.keep(w, r, one, s.Clients().console); err != nil {
		return nil, err
	}
	return one.of(client), nil
}

// Leave ends the session of a request, at all workers. Where that fails, the browser alone has forgotten it.
func (s *Sessions) Leave(w http.ResponseWriter, r *http.Request) error {
	name := s.cookieName(r)
	http.SetCookie(w, s.cookie(r, name, "", -1, http.SameSiteStrictMode))
	cookie, err := r.Cookie(name)
	var one session
	if err != nil || s.open(markSession, cookie.Value, &one) != nil {
		return nil // There is no session.
	}
	if err := s.Ended.End(r.Context(), one.ID, one.Began.Add(cmp.Or(s.Clients().console.Session, defaultSession))); err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endedAt = time.Time{} // It is read anew.
	return nil
}

// goesOn reports, as an error, that a session has ended, or that this is not known.
func (s *Sessions) goesOn(ctx context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	if age := now.Sub(s.endedAt); s.endedAt.IsZero() || age < 0 || age >= endedKept {
		list, err := s.Ended.All(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		s.ended, s.endedAt = list, now
	}
	if _, ended := s.ended[id]; ended {
		return errEnded
	}
	return nil
}

// keep gives a session to the browser.
func (s *Sessions) keep(w http.ResponseWriter, r *http.Request, one session, c config.Console) error {
	value, err := s.seal(markSession, one)
	if err != nil {
		return err
	}
	left := one.Began.Add(cmp.Or(c.Session, defaultSession)).Sub(s.Now())
	http.SetCookie(w, s.cookie(r, s.cookieName(r), value, int(min(left, cmp.Or(c.Idle, defaultIdle)).Seconds()), http.SameSiteStrictMode))
	return nil
}

// seal makes a text of a value that only the fleet can have made.
func (s *Sessions) seal(purpose string, value any) (string, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(data)
	mark, err := s.Marker.Mark(purpose, text)
	if err != nil {
		return "", fmt.Errorf("signing a session: %w", err)
	}
	return text + "." + mark, nil
}

// open reads what seal has made.
func (s *Sessions) open(purpose, sealed string, into any) error {
	text, mark, _ := strings.Cut(sealed, ".")
	if err := s.Marker.Confirm(purpose, text, mark); err != nil {
		return fmt.Errorf("%w: its signature %w", errEnded, err)
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return errEnded
	}
	return json.Unmarshal(data, into)
}

// isSecure reports whether the browser speaks TLS: with us, or with a proxy before us.
func (s *Sessions) isSecure(r *http.Request) bool {
	return r.TLS != nil || strings.HasPrefix(s.Clients().publicURL, "https:")
}

// cookieName has the prefix by which a browser refuses a cookie that another host, or a connection without TLS, has set.
func (s *Sessions) cookieName(r *http.Request) string {
	if s.isSecure(r) {
		return "__Host-rekey"
	}
	return "rekey"
}

func (s *Sessions) cookie(r *http.Request, name, value string, seconds int, site http.SameSite) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: seconds, Secure: s.isSecure(r), HttpOnly: true, SameSite: site} //nolint:gosec // Without TLS, which is on loopback only, a browser keeps no secure cookie.
}
