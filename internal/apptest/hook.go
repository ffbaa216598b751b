package apptest

import (
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rekey/internal/config"
	"rekey/internal/notify"
	"rekey/internal/secret"
)

// Told is a request that reached a receiver.
type Told struct {
	Header http.Header
	Body   string
	At     time.Time
}

// ID is the webhook-id.
func (o *Told) ID() string { return o.Header.Get("webhook-id") }

// Hook is a server that receives results.
type Hook struct {
	URL    string
	mu     sync.Mutex // Guards what follows.
	got    []Told     // All requests.
	taken  []Told     // Those that were answered with 2xx.
	Answer func(n int, w http.ResponseWriter) int
}

// NewHook answers the n-th request, from 1, as answer does, which returns the status; nil takes all.
func NewHook(t *testing.T, answer func(n int, w http.ResponseWriter) int) *Hook {
	t.Helper()
	r := &Hook{Answer: answer}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// ServeHTTP keeps a request and answers it.
func (r *Hook) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	one := Told{Header: req.Header.Clone(), Body: string(body), At: time.Now()}
	r.got = append(r.got, one)
	status := http.StatusNoContent
	if r.Answer != nil {
		status = r.Answer(len(r.got), w)
	}
	if status < 300 {
		r.taken = append(r.taken, one)
	}
	w.WriteHeader(status)
}

// SwitchTo makes the receiver answer with a status.
func (r *Hook) SwitchTo(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Answer = func(int, http.ResponseWriter) int { return status }
}

// Requests are those that came.
func (r *Hook) Requests() []Told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// Await waits until n different notifications were taken and returns all that were.
func (r *Hook) Await(t *testing.T, n int) []Told {
	t.Helper()
	var list []Told
	Eventually(t, "notifications", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		list = slices.Clone(r.taken)
		return len(IDs(list)) >= n
	})
	return list
}

// IDs are the ids of notifications, each once, sorted.
func IDs(list []Told) []string {
	var all []string
	for _, one := range list {
		all = append(all, one.ID())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Receiver is a webhook of a rig. Its URL holds a token.
func (r *Rig) Receiver(name string, h *Hook) config.Receiver {
	key := "HOOK_" + strings.ToUpper(name)
	r.Env[key] = h.URL + "/" + Canary() + "?token=" + Canary()
	return config.Receiver{
		Name: name, Type: notify.TypeWebhook, URL: secret.Ref{Env: key}, Timeout: 5 * time.Second,
		Retry: config.Retry{Base: 20 * time.Millisecond, Cap: 100 * time.Millisecond, MaxAttempts: 3, MaxAge: time.Hour, RetryAfterCap: time.Hour},
	}
}

// SigningSecret is a new secret for signatures.
func SigningSecret() string {
	key := make([]byte, 32)
	rand.Read(key)
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}
