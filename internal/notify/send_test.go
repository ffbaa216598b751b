package notify_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"rekey/internal/jobs"
	"rekey/internal/notify"
	"rekey/internal/secret"
)

const (
	signingSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	canary        = "T0CANARY/B0CANARY/xCanaryTokenOfAURL"
)

// env are environment variables.
type env map[string]string

func (e env) lookup(name string) (string, bool) {
	value, ok := e[name]
	return value, ok
}

// receiver is one whose address and secret are in URL and SIGNING.
func receiver(kind notify.Type) *notify.Receiver {
	return &notify.Receiver{
		Name: "hook", Type: kind, URL: secret.Ref{Env: "URL"}, Timeout: 10 * time.Second, MaxRetryAfter: time.Hour,
		Retry: jobs.RetryPolicy{Base: time.Second, Cap: time.Minute, MaxAttempts: 3, MaxAge: time.Hour},
	}
}

func serve(t *testing.T, handler http.HandlerFunc) env {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return env{"URL": server.URL + "/" + canary, "SIGNING": signingSecret}
}

func TestSendSigns(t *testing.T) {
	t.Parallel()
	type request struct {
		header http.Header
		body   []byte
	}
	came := make(chan request, 1)
	vars := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) //nolint:errcheck // Then it is not what was sent.
		came <- request{r.Header, body}
	})
	vars["URL"] = strings.Replace(vars["URL"], "//", "//user:password@", 1)
	hook := receiver(notify.TypeWebhook)
	hook.SigningSecret = secret.Ref{Env: "SIGNING"}
	message := notify.Message{ID: "rekey-j1", Body: []byte(`{"a":1}`)}
	status, err := notify.NewSender("1.2.3", vars.lookup).Send(t.Context(), hook, message)
	if err != nil || status != http.StatusOK {
		t.Fatalf("Send = %d, %v", status, err)
	}
	got := <-came
	header, body := got.header, got.body
	verifier, err := standardwebhooks.NewWebhook(signingSecret)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(body, header); err != nil {
		t.Error(err)
	}
	if string(body) != string(message.Body) || header.Get("Webhook-Id") != message.ID || header.Get("Content-Type") != "application/json" ||
		header.Get("User-Agent") != "rekey/1.2.3" || header.Get("Authorization") != "Basic dXNlcjpwYXNzd29yZA==" {
		t.Errorf("%s came with %v", body, header)
	}
}

func TestSendFails(t *testing.T) {
	t.Parallel()
	answer := func(status int, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Add(header[i], header[i+1])
			}
			w.WriteHeader(status)
			if _, err := io.WriteString(w, body); err != nil {
				t.Error(err)
			}
		}
	}
	tests := []struct {
		name       string
		answer     http.HandlerFunc
		vars       env
		wantClass  notify.Class
		wantStatus int
		wantRetry  time.Duration // About.
		want       string
	}{
		{name: "down", answer: answer(503, "<html>"), wantClass: notify.ClassUnavailable, wantStatus: 503, want: "HTTP 503"},
		{name: "limited", answer: answer(429, "rate_limited", "Retry-After", "30"), wantClass: notify.ClassUnavailable, wantStatus: 429, wantRetry: 30 * time.Second, want: "HTTP 429: rate_limited"},
		{name: "limited for too long", answer: answer(429, "", "Retry-After", "999999"), wantClass: notify.ClassUnavailable, wantStatus: 429, wantRetry: time.Hour, want: "HTTP 429"},
		{name: "limited with a fraction", answer: answer(429, "", "Retry-After", "29.2"), wantClass: notify.ClassUnavailable, wantStatus: 429, wantRetry: 30 * time.Second, want: "HTTP 429"},
		{name: "limited, and no sense", answer: answer(429, "", "Retry-After", canary), wantClass: notify.ClassUnavailable, wantStatus: 429, want: "HTTP 429 (its Retry-After is neither seconds nor a date)"},
		{name: "several waits", answer: answer(503, "", "Retry-After", "5", "Retry-After", "50"), wantClass: notify.ClassUnavailable, wantStatus: 503, wantRetry: 50 * time.Second, want: "HTTP 503"},
		{name: "not found", answer: answer(404, "no_service"), wantClass: notify.ClassRefused, wantStatus: 404, want: "HTTP 404: no_service"},
		{name: "gone", answer: answer(410, "channel_is_archived"), wantClass: notify.ClassGone, wantStatus: 410, want: "HTTP 410: channel_is_archived"},
		{name: "redirect", answer: answer(302, "", "Location", "/elsewhere"), wantClass: notify.ClassRefused, wantStatus: 302, want: "HTTP 302"},
		{name: "an answer that repeats the address", answer: answer(400, canary), wantClass: notify.ClassRefused, wantStatus: 400, want: "HTTP 400"},
		{name: "a redirect to no address, which repeats ours", answer: func(w http.ResponseWriter, r *http.Request) {
			answer(302, "", "Location", r.URL.Path+"/%zz")(w, r)
		}, wantClass: notify.ClassRefused, wantStatus: 302, want: "HTTP 302"},
		{name: "no HTTP, which repeats the address", answer: func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "echo "+r.URL.Path+"\r\n\r\n"); err != nil {
				t.Error(err)
			}
		}, wantClass: notify.ClassUnavailable, want: "no answer of HTTP came: the connection ended, or something else came"},
		{name: "an answer without end", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			for range 1000 {
				if _, err := io.WriteString(w, strings.Repeat("a", 1000)); err != nil {
					return
				}
			}
		}, wantClass: notify.ClassRefused, wantStatus: 400, want: "HTTP 400"},
		{name: "no address", vars: env{}, wantClass: notify.ClassUnavailable, want: "url: reading a secret from environment variable URL: it is not set"},
		{name: "no URL", vars: env{"URL": canary + ":"}, wantClass: notify.ClassUnavailable, want: "url: what is in environment variable URL is no URL"},
		{name: "plain http", vars: env{"URL": "http://hooks.example.com/" + canary}, wantClass: notify.ClassUnavailable, want: "url: what is in environment variable URL must begin with https://; http:// is for 127.0.0.1, ::1 and localhost only"},
		{name: "another scheme", vars: env{"URL": "ftp://127.0.0.1/" + canary}, wantClass: notify.ClassUnavailable, want: "url: what is in environment variable URL must begin with https://; http:// is for 127.0.0.1, ::1 and localhost only"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			vars := tt.vars
			if vars == nil {
				vars = serve(t, tt.answer)
			}
			began := time.Now()
			status, err := notify.NewSender("1", vars.lookup).Send(t.Context(), receiver(notify.TypeSlack), notify.Message{ID: "a", Body: []byte("{}")})
			f, ok := errors.AsType[*notify.Failure](err)
			if !ok || f.Class != tt.wantClass || status != tt.wantStatus || f.Status != tt.wantStatus || f.Error() != tt.want {
				t.Fatalf("Send = %d, %+v; want %s", status, err, tt.want)
			}
			// The answer comes after the request began, and not long after.
			if wait := f.RetryAt.Sub(began); tt.wantRetry == 0 && !f.RetryAt.IsZero() || tt.wantRetry > 0 && (wait < tt.wantRetry || wait > tt.wantRetry+time.Minute) {
				t.Errorf("RetryAt is in %s, want %s", wait, tt.wantRetry)
			}
			if strings.Contains(err.Error(), "anary") {
				t.Errorf("the error shows the address: %v", err)
			}
		})
	}
}

// A body, its signature and the password of the address are for the configured address alone.
func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	var there atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { there.Add(1) }))
	defer other.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		vars := serve(t, http.RedirectHandler(other.URL, code).ServeHTTP)
		vars["SIGNING"] = signingSecret
		hook := receiver(notify.TypeWebhook)
		hook.SigningSecret = secret.Ref{Env: "SIGNING"}
		if status, err := notify.NewSender("1", vars.lookup).Send(t.Context(), hook, notify.Message{ID: "a", Body: []byte("{}")}); status != code || err == nil {
			t.Errorf("Send = %d, %v", status, err)
		}
	}
	if there.Load() > 0 {
		t.Errorf("where the redirects lead, %d requests came", there.Load())
	}
}

func TestSendGivesUpOnAServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	vars := serve(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	hook := receiver(notify.TypeWebhook)
	hook.Timeout = 50 * time.Millisecond
	_, err := notify.NewSender("1", vars.lookup).Send(t.Context(), hook, notify.Message{})
	if f, ok := errors.AsType[*notify.Failure](err); !ok || f.Class != notify.ClassUnavailable || f.Error() != "no answer within 50ms" {
		t.Errorf("Send = %v", err)
	}
	stopped, stop := context.WithCancelCause(t.Context())
	stop(jobs.ErrStopping)
	if _, err := notify.NewSender("1", vars.lookup).Send(stopped, hook, notify.Message{}); !errors.Is(err, jobs.ErrStopping) {
		t.Errorf("Send = %v, want %v", err, jobs.ErrStopping)
	}
}

func TestSigningSecrets(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, value, want string }{
		{"one", signingSecret, ""},
		{"two", signingSecret + "\n" + signingSecret, ""},
		{"no prefix", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "must begin with whsec_"},
		{"no base64", "whsec_%%%", "must be whsec_ and base64"},
		{"short", "whsec_AAAA", "must have 24 to 64 bytes"},
		{"none", "", "it is empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hook := receiver(notify.TypeWebhook)
			hook.SigningSecret = secret.Ref{Env: "SIGNING"}
			err := notify.NewSender("1", env{"URL": "https://a.example.com", "SIGNING": tt.value}.lookup).Check(hook)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Check = %v, want %q", err, tt.want)
			}
			if err != nil && tt.value != "" && strings.Contains(err.Error(), strings.TrimPrefix(tt.value, "whsec_")) {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}
