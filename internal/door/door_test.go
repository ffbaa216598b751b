package door_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"rekey/internal/door"
	"rekey/internal/kinds"
	"rekey/internal/redact"
	"rekey/internal/secret"
)

// rig is one door with everything around it made by hand.
type rig struct {
	t       *testing.T
	doors   *door.Doors
	name    string
	logs    *observer.ObservedLogs
	results map[string]int
	audited int // Refusals that were kept for the audit trail.

	mu     sync.Mutex // Guards what follows.
	events []stored
	fail   error
}

// stored is an event as the stream has it.
type stored struct {
	class   string
	raw     string
	headers map[string]string
	ID      string `json:"id"`
	Source  string `json:"source"`
	Type    string `json:"type"`
	Trace   string `json:"traceparent"`
	Data    any    `json:"data"`
}

func (s stored) fields() map[string]any { return s.Data.(map[string]any) }

// newRig opens a door. secrets are written to the file of its secret, or token, or password.
func newRig(t *testing.T, d door.Door, secrets string, transports ...http.RoundTripper) *rig {
	t.Helper()
	if d.Name == "" {
		d.Name = strings.ReplaceAll(string(d.Type), "_", "-")
	}
	d.Class, d.Tolerance = "incident", door.Tolerance
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secrets), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := door.KeysOf(d.Type)
	for key, ref := range map[string]*secret.Ref{door.KeySecret: &d.Secret, door.KeyToken: &d.Token, door.KeyPassword: &d.Password} {
		if slices.Contains(keys.Required, key) {
			ref.File = file
		}
	}
	core, logs := observer.New(zapcore.DebugLevel)
	r := &rig{t: t, name: d.Name, logs: logs, results: map[string]int{}}
	var err error
	r.doors, err = door.New(door.Config{
		Doors: []door.Door{d}, Publisher: r, Sealer: r, Recorder: r, Auditor: r, Logger: zap.New(core), LookupEnv: noEnv, Now: time.Now,
		Client:     func(string) (*http.Client, error) { return &http.Client{Transport: append(transports, nil)[0]}, nil },
		Known:      func() *redact.Set { return redact.NewSet(secret.New("0wn-w0rker-s3cret-x9")) },
		Containing: string(kinds.LeakContain), ContainingParam: "secret",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.wantAudited)
	return r
}

// PublishEvent implements door.Publisher.
func (r *rig) PublishEvent(_ context.Context, _, class string, data []byte, headers map[string]string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	s := stored{class: class, raw: string(data), headers: headers}
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	r.events = append(r.events, s)
	return nil
}

// Seal implements door.Sealer: what is sealed can be recognised, and shows nothing.
func (r *rig) Seal(value secret.Value) (string, error) {
	return "rekey-seal.v1." + strings.ReplaceAll(value.Fingerprint(), ":", "."), nil
}

// noEnv is an empty environment.
func noEnv(string) (string, bool) { return "", false }

// DoorEvent implements door.Recorder.
func (r *rig) DoorEvent(name, result string) {
	if name != r.name {
		r.t.Errorf("counted for door %q", name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[result]++
}

// run polls until the test is over.
func run(t *testing.T, r *rig) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.doors.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// sealed is what Seal makes of a text.
func sealed(text string) string {
	return "rekey-seal.v1." + strings.ReplaceAll(secret.New(text).Fingerprint(), ":", ".")
}

// post posts a body with headers, and returns status and body of the answer.
func (r *rig) post(body string, headers http.Header) *httptest.ResponseRecorder {
	return r.do(http.MethodPost, door.Path+r.name, body, headers)
}

func (r *rig) do(method, path, body string, headers http.Header) *httptest.ResponseRecorder {
	q := httptest.NewRequest(method, path, strings.NewReader(body))
	q.Header.Set("Content-Type", "application/json")
	q.RemoteAddr = "127.0.0.1:4000"
	maps.Copy(q.Header, headers)
	return r.serve(q)
}

func (r *rig) serve(q *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.doors.Handlers()[r.name].ServeHTTP(w, q)
	return w
}

// wantStatus fails unless an answer has a status, and a problem its code.
func (r *rig) wantStatus(w *httptest.ResponseRecorder, want int) {
	r.t.Helper()
	if w.Code != want {
		body, _ := io.ReadAll(w.Result().Body) //nolint:errcheck // For the message alone.
		r.t.Errorf("status %d, want %d: %s", w.Code, want, body)
	}
	var problem struct{ Code string }
	if w.Header().Get("Content-Type") == "application/problem+json" && (json.Unmarshal(w.Body.Bytes(), &problem) != nil || problem.Code == "") {
		r.t.Errorf("the problem has no code: %s", w.Body)
	}
}

// one is the one event that was stored.
func (r *rig) one() stored {
	r.t.Helper()
	if len(r.events) != 1 {
		r.t.Fatalf("%d events are stored, want 1", len(r.events))
	}
	return r.events[0]
}

// wantNoCanary fails when a text is in what was logged or stored.
func (r *rig) wantNoCanary(canaries ...string) {
	r.t.Helper()
	for _, canary := range canaries {
		for _, entry := range r.logs.All() {
			line, err := json.Marshal(entry.ContextMap())
			if err != nil {
				r.t.Fatal(err)
			}
			if strings.Contains(entry.Message+string(line), canary) {
				r.t.Errorf("the log has %q", canary)
			}
		}
		for _, e := range r.events {
			if strings.Contains(e.raw, canary) {
				r.t.Errorf("an event has %q: %s", canary, e.raw)
			}
		}
	}
}

func TestUnavailable(t *testing.T) {
	r := newRig(t, door.Door{Type: door.TypeBearer}, "t0ken")
	auth := http.Header{"Authorization": {"Bearer t0ken"}}
	r.fail = errors.New("no answer")
	w := r.post(`{"a":1}`, auth)
	r.wantStatus(w, http.StatusServiceUnavailable)
	if w.Header().Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	if strings.Contains(w.Body.String(), "no answer") {
		t.Errorf("the answer has the cause: %s", w.Body)
	}
	r.fail = door.ErrTooLarge
	r.wantStatus(r.post(`{"a":1}`, auth), http.StatusRequestEntityTooLarge)
	r.fail = nil
	r.wantStatus(r.post(`{"a":"`+strings.Repeat("x", 1<<20)+`"}`, auth), http.StatusRequestEntityTooLarge)
	if len(r.events) > 0 {
		t.Errorf("%d events are stored", len(r.events))
	}
	want := map[string]int{"unavailable": 1, "malformed": 2}
	if !maps.Equal(r.results, want) {
		t.Errorf("counted %v, want %v", r.results, want)
	}
}

// TestSecretIsReadAnew: a file that was rotated counts for the next request, and one that is missing is no wrong signature.
func TestSecretIsReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	r := newRig(t, door.Door{Type: door.TypeGitHub}, "old")
	r = reopen(t, r, door.Door{Type: door.TypeBearer, Token: secret.Ref{File: file}})
	auth := http.Header{"Authorization": {"Bearer n3w"}}
	r.wantStatus(r.post(`{}`, auth), http.StatusServiceUnavailable)
	for content, want := range map[string]int{"0ld\n": http.StatusUnauthorized, "0ld\nn3w\n": http.StatusAccepted} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r.wantStatus(r.post(`{}`, auth), want)
	}
}

// reopen opens another door in the place of a rig's.
func reopen(t *testing.T, r *rig, d door.Door) *rig {
	t.Helper()
	d.Name, d.Class, d.Tolerance = r.name, "incident", door.Tolerance
	var err error
	if r.doors, err = door.New(door.Config{Doors: []door.Door{d}, Publisher: r, Sealer: r, Recorder: r, Auditor: r, Logger: zap.NewNop(), LookupEnv: noEnv, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPathsAndMethods(t *testing.T) {
	r := newRig(t, door.Door{Type: door.TypeBearer}, "t0ken")
	auth := http.Header{"Authorization": {"Bearer t0ken"}}
	tests := []struct {
		name, method, path string
		want               int
	}{
		{"below a door", http.MethodPost, "/in/bearer/x", http.StatusNotFound},
		{"another method", http.MethodGet, "/in/bearer", http.StatusMethodNotAllowed},
		{"the door", http.MethodPost, "/in/bearer", http.StatusAccepted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := r.do(tt.method, tt.path, `{}`, auth)
			r.wantStatus(w, tt.want)
			if tt.want == http.StatusMethodNotAllowed && w.Header().Get("Allow") != http.MethodPost {
				t.Error("Allow is missing")
			}
		})
	}
}

func TestTrace(t *testing.T) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	r := newRig(t, door.Door{Type: door.TypeBearer}, "t0ken")
	r.post(`{}`, http.Header{"Authorization": {"Bearer t0ken"}, "Traceparent": {trace}})
	if got := r.one(); got.Trace != trace || got.class != "incident" || got.Source != "rekey/door/bearer" {
		t.Errorf("stored %+v", got)
	}
}

// TestSlowSenders: a body that does not come in time can be sent again.
func TestSlowSenders(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Door{Type: door.TypeBearer}, "t0ken")
	q := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/in/bearer", iotest.ErrReader(os.ErrDeadlineExceeded))
	w := httptest.NewRecorder()
	r.doors.Handlers()["bearer"].ServeHTTP(w, q)
	if w.Code != http.StatusRequestTimeout || r.results["unavailable"] != 1 {
		t.Errorf("%d %s, counted %v", w.Code, w.Body, r.results)
	}
}
