package app_test

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

// told is a request that reached a receiver.
type told struct {
	header http.Header
	body   string
	at     time.Time
}

func (o *told) id() string { return o.header.Get("webhook-id") }

// hook is a server that is told of results.
type hook struct {
	url    string
	mu     sync.Mutex // Guards what follows.
	got    []told     // All requests.
	taken  []told     // Those that were answered with 2xx.
	answer func(n int, w http.ResponseWriter) int
}

// newHook answers the n-th request, from 1, as answer does, which returns the status; nil takes all.
func newHook(t *testing.T, answer func(n int, w http.ResponseWriter) int) *hook {
	t.Helper()
	r := &hook{answer: answer}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// ServeHTTP keeps a request and answers it.
func (r *hook) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	one := told{header: req.Header.Clone(), body: string(body), at: time.Now()}
	r.got = append(r.got, one)
	status := http.StatusNoContent
	if r.answer != nil {
		status = r.answer(len(r.got), w)
	}
	if status < 300 {
		r.taken = append(r.taken, one)
	}
	w.WriteHeader(status)
}

// switchTo makes the receiver answer with a status.
func (r *hook) switchTo(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = func(int, http.ResponseWriter) int { return status }
}

func (r *hook) requests() []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// await waits until n different notifications were taken and returns all that were.
func (r *hook) await(t *testing.T, n int) []told {
	t.Helper()
	var list []told
	eventually(t, "notifications", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		list = slices.Clone(r.taken)
		return len(ids(list)) >= n
	})
	return list
}

// ids are the ids of notifications, each once, sorted.
func ids(list []told) []string {
	var all []string
	for _, one := range list {
		all = append(all, one.id())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// target is a webhook of a rig. Its URL holds a token.
func (r *rig) receiver(name string, h *hook) config.Receiver {
	key := "HOOK_" + strings.ToUpper(name)
	r.env[key] = h.url + "/" + canary() + "?token=" + canary()
	return config.Receiver{
		Name: name, Type: notify.TypeWebhook, URL: secret.Ref{Env: key}, Timeout: 5 * time.Second,
		Retry: config.Retry{Base: 20 * time.Millisecond, Cap: 100 * time.Millisecond, MaxAttempts: 3, MaxAge: time.Hour, RetryAfterCap: time.Hour},
	}
}

func signingSecret() string {
	key := make([]byte, 32)
	rand.Read(key)
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}
