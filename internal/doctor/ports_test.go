package doctor_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"rekey/internal/doctor"
	"rekey/internal/httpserver"
)

// TestLook: who holds a port is asked there, and nowhere else.
func TestLook(t *testing.T) {
	t.Parallel()
	serve := func(name string, ready http.HandlerFunc) string {
		mux := http.NewServeMux()
		mux.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", name)
			ready(w, r)
		})
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		return strings.TrimPrefix(server.URL, "http://")
	}
	say := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			if _, err := io.WriteString(w, text); err != nil {
				t.Error(err)
			}
		}
	}
	worker := serve(httpserver.Name, say(200, "ok"))
	tests := []struct {
		name, address, want string
		status              doctor.Status
	}{
		{"a worker", worker, "held by a running worker, which is ready", doctor.OK},
		{"a worker that is not ready", serve(httpserver.Name, say(503, "nats: away")), "which is not ready: nats: away", doctor.OK},
		{"something else", serve("hello", say(200, "ok")), "taken by another program", doctor.Failed},
		{"who sends on to a worker", serve("", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+worker+"/readyz", http.StatusFound)
		}), "taken by another program", doctor.Failed},
		{"any port", "127.0.0.1:0", "any free port", doctor.OK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := doctor.Listener{Key: "http.listen", Address: tt.address, Ask: doctor.AskHTTP}.Look(t.Context())
			if got.Status != tt.status || !strings.Contains(got.Found, tt.want) {
				t.Errorf("Look = %+v, want %s: %s", got, tt.status, tt.want)
			}
		})
	}
}
