package access_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"rekey/internal/access"
	"rekey/internal/config"
	"rekey/internal/secret"
)

// marks are marks of a key that is the text itself.
type marks struct{ key string }

func (m marks) Mark(purpose, text string) (string, error) { return m.key + purpose + text, nil }

func (m marks) Confirm(purpose, text, mark string) error {
	if mark != m.key+purpose+text {
		return errors.New("is another one")
	}
	return nil
}

// ended are the sessions that have ended, of all workers.
type ended struct {
	list map[string]time.Time
	err  error
}

func (e *ended) End(_ context.Context, id string, until time.Time) error {
	e.list[id] = until
	return e.err
}

func (e *ended) All(context.Context) (map[string]time.Time, error) { return maps.Clone(e.list), e.err }

// rig is sessions on a clock of their own.
type rig struct {
	*access.Sessions
	t   *testing.T
	now time.Time
	api config.API
}

func newRig(t *testing.T) *rig {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("token-1"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, now: time.Unix(1_800_000_000, 0)}
	r.api = config.API{
		Console: config.Console{Idle: 30 * time.Minute, Session: 12 * time.Hour},
		Clients: []config.APIClient{{Name: "soar", Token: secret.Ref{File: file}, May: []config.Permission{config.MayRead}}},
	}
	r.Sessions = &access.Sessions{Marker: marks{"k"}, Ended: &ended{list: map[string]time.Time{}}, Now: func() time.Time { return r.now }, Clients: func() *access.Roster {
		return access.NewRoster(r.api, nil, func(string) (string, bool) { return "", false }, zap.NewNop())
	}}
	return r
}

// login returns the cookie of a new session.
func (r *rig) login() *http.Cookie {
	r.t.Helper()
	w := httptest.NewRecorder()
	person, err := r.LogIn(w, httptest.NewRequestWithContext(r.t.Context(), "POST", "http://127.0.0.1/login", nil), "token-1")
	if err != nil || person.Name != "soar" {
		r.t.Fatal(person, err)
	}
	return w.Result().Cookies()[0]
}

// visit asks for a page, and returns the cookie that goes on, and whether the person is known.
func (r *rig) visit(cookie *http.Cookie, header ...string) (*http.Cookie, bool) {
	r.t.Helper()
	w, req := httptest.NewRecorder(), httptest.NewRequestWithContext(r.t.Context(), "GET", "http://127.0.0.1/", nil)
	req.AddCookie(cookie)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	person, err := r.Person(w, req)
	if (person == nil) == (err == nil) {
		r.t.Fatal(person, err)
	}
	if set := w.Result().Cookies(); len(set) > 0 {
		cookie = set[0]
	}
	return cookie, person != nil
}

// TestSessionEnds: after a while without a page, after a while in any case, with its client, and with the key.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	const live = "text/event-stream"
	for _, tt := range []struct {
		name  string
		after func(r *rig, c *http.Cookie) *http.Cookie
		want  bool
	}{
		{"at once", func(_ *rig, c *http.Cookie) *http.Cookie { return c }, true},
		{"before it is idle", func(r *rig, c *http.Cookie) *http.Cookie { r.now = r.now.Add(30 * time.Minute); return c }, true},
		{"idle", func(r *rig, c *http.Cookie) *http.Cookie { r.now = r.now.Add(30*time.Minute + time.Second); return c }, false},
		{"with pages in between", func(r *rig, c *http.Cookie) *http.Cookie {
			for range 3 {
				r.now = r.now.Add(20 * time.Minute)
				c, _ = r.visit(c)
			}
			return c
		}, true},
		{"with a live page in between", func(r *rig, c *http.Cookie) *http.Cookie {
			for range 3 {
				r.now = r.now.Add(20 * time.Minute)
				c, _ = r.visit(c, "Accept", live)
			}
			return c
		}, false},
		{"in any case", func(r *rig, c *http.Cookie) *http.Cookie {
			for range 37 {
				r.now = r.now.Add(20 * time.Minute)
				c, _ = r.visit(c)
			}
			return c
		}, false},
		{"from the future", func(r *rig, c *http.Cookie) *http.Cookie { r.now = r.now.Add(-time.Hour); return c }, false},
		{"client gone", func(r *rig, c *http.Cookie) *http.Cookie { r.api.Clients = nil; return c }, false},
		{"another key", func(r *rig, c *http.Cookie) *http.Cookie { r.Marker = marks{"other"}; return c }, false},
		{"client with claims now", func(r *rig, c *http.Cookie) *http.Cookie {
			r.api.Clients[0].Token, r.api.Clients[0].Claims = secret.Ref{}, map[string]string{"sub": "x"}
			return c
		}, false},
		{"mark of another purpose", func(r *rig, c *http.Cookie) *http.Cookie {
			r.Marker = marks{"k"}
			c.Value = c.Value[:len(c.Value)-1]
			return c
		}, false},
	} {
		r := newRig(t)
		if _, got := r.visit(tt.after(r, r.login())); got != tt.want {
			t.Errorf("%s: known is %v", tt.name, got)
		}
	}
}

// TestCookie: with TLS, with us or before us, the cookie is that of a host with TLS.
func TestCookie(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if c := r.login(); c.Name != "rekey" || c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.MaxAge != 1800 {
		t.Errorf("cookie without TLS: %+v", c)
	}
	r.api.PublicURL = "https://rekey.example.com"
	if c := r.login(); c.Name != "__Host-rekey" || !c.Secure || c.Path != "/" || c.Domain != "" {
		t.Errorf("cookie behind a proxy with TLS: %+v", c)
	}
}

// TestLogOutEverywhere: a session that was ended at one worker is over at another within a second, and no session is accepted while it is not known which have ended.
func TestLogOutEverywhere(t *testing.T) {
	t.Parallel()
	here, there := newRig(t), newRig(t)
	shared := &ended{list: map[string]time.Time{}}
	here.Ended, there.Ended = shared, shared
	kept, other := here.login(), here.login()
	for _, r := range []*rig{here, there} {
		if _, ok := r.visit(kept); !ok {
			t.Fatal("a session is not known")
		}
	}
	req := httptest.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1/logout", nil)
	req.AddCookie(kept)
	if err := here.Leave(httptest.NewRecorder(), req); err != nil {
		t.Fatal(err)
	}
	there.now = there.now.Add(time.Second)
	for name, r := range map[string]*rig{"here": here, "there": there} {
		if _, ok := r.visit(kept); ok {
			t.Errorf("%s the session goes on", name)
		}
		if _, ok := r.visit(other); !ok {
			t.Errorf("%s another session has ended", name)
		}
	}
	for _, until := range shared.list {
		if want := here.now.Add(12 * time.Hour); !until.Equal(want) {
			t.Errorf("it is kept until %s, want %s", until, want)
		}
	}
	shared.err = errors.New("no answer")
	there.now = there.now.Add(time.Second)
	req = httptest.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1/", nil)
	req.AddCookie(other)
	if person, err := there.Person(httptest.NewRecorder(), req); person != nil || !errors.Is(err, access.ErrUnknown) {
		t.Errorf("without NATS: %v, %v", person, err)
	}
	if err := here.Leave(httptest.NewRecorder(), req); err == nil {
		t.Error("a session was ended without NATS")
	}
}
