package console_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/zap"

	"rekey/internal/access"
	"rekey/internal/config"
	"rekey/internal/console"
	"rekey/internal/refused"
)

// uncounted counts no refusals.
type uncounted struct{}

func (uncounted) Refused(refused.Key, string) {}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.EOF
}

// TestForms: the pages read forms in one way, within bounds, and no other body. Strangers send them, too.
func TestForms(t *testing.T) {
	t.Parallel()
	roster := access.NewRoster(config.API{}, nil, func(string) (string, bool) { return "", false }, zap.NewNop())
	pages, err := console.New(console.Config{Access: &access.Sessions{Clients: func() *access.Roster { return roster }}, Auditor: uncounted{}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	const form, multipart = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
	for _, tt := range []struct {
		name, method, path, media string
		body                      io.Reader
		want                      int
		says                      string
	}{
		{"a form", http.MethodPost, "/login", form, strings.NewReader("to=%2Fjobs"), http.StatusUnauthorized, `value="/jobs"`},
		{"with a character set", http.MethodPost, "/login", form + "; charset=utf-8", strings.NewReader("to=%2Fjobs"), http.StatusUnauthorized, `value="/jobs"`},
		{"none", http.MethodPost, "/login", "", http.NoBody, http.StatusUnauthorized, ""},
		{"a form of another kind", http.MethodPost, "/login", multipart, unread{t}, http.StatusUnsupportedMediaType, form},
		{"of no kind", http.MethodPost, "/jobs/1/cancel", "", unread{t}, http.StatusUnsupportedMediaType, form},
		{"one of which not all comes in time", http.MethodPost, "/login", form, iotest.ErrReader(os.ErrDeadlineExceeded), http.StatusRequestTimeout, "in time"},
		{"one that is cut off", http.MethodPost, "/login", form, iotest.ErrReader(io.ErrUnexpectedEOF), http.StatusBadRequest, ""},
		{"one with a mistake", http.MethodPost, "/login", form, strings.NewReader("to=%zz"), http.StatusBadRequest, ""},
		{"one that is too large", http.MethodPost, "/login", form, strings.NewReader(strings.Repeat("x", 2<<20+1)), http.StatusRequestEntityTooLarge, "2 MiB"},
		{"a question with a form", http.MethodGet, "/login?to=/jobs", form, unread{t}, http.StatusUnauthorized, `value="/jobs"`},
		{"a question with a form of another kind", http.MethodGet, "/login", multipart, unread{t}, http.StatusUnauthorized, ""},
		{"a question for a page, with a form of another kind", http.MethodGet, "/jobs", multipart, unread{t}, http.StatusUnauthorized, ""},
		{"a question for the issuer, with a form of another kind", http.MethodGet, "/login/oidc", multipart, unread{t}, http.StatusServiceUnavailable, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, tt.body)
			r.Header.Set("Content-Type", tt.media)
			w := httptest.NewRecorder()
			pages.ServeHTTP(w, r)
			if w.Code != tt.want || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("%d, want %d with %q:\n%s", w.Code, tt.want, tt.says, w.Body.String())
			}
		})
	}
}
