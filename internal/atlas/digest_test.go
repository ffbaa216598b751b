package atlas_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/icholy/digest"

	"rekey/internal/jobs"
)

// digestAPI checks HTTP Digest as RFC 7616 section 3.4 has it, with an arithmetic of its own.
type digestAPI struct {
	t      *testing.T
	qop    string // Of the challenge; default auth.
	body   func() *http.Response
	closed bool // No key is accepted.
	never  bool // Every nonce is stale at once.
	slow   bool // Challenges take a second.

	mu     sync.Mutex
	nonce  string
	stale  map[string]bool // Nonces that have expired.
	counts map[string]map[int]bool
	log    []string // What each request came to.
}

func newDigestAPI(t *testing.T) *digestAPI {
	return &digestAPI{t: t, qop: "auth", nonce: "n1", stale: map[string]bool{}, counts: map[string]map[int]bool{}}
}

func (a *digestAPI) RoundTrip(req *http.Request) (*http.Response, error) {
	header := req.Header.Get("Authorization")
	if a.slow && header == "" {
		pass(time.Second)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if header == "" {
		return a.challenge("challenge", false), nil
	}
	credentials, err := digest.ParseCredentials(header)
	if err != nil {
		a.t.Errorf("header Authorization: %v", err)
		return reply(400, ""), nil
	}
	h := func(parts ...string) string {
		sum := md5.Sum([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(sum[:])
	}
	want := h(h("abcdefgh", "MMS Public API", privateKey), credentials.Nonce, fmt.Sprintf("%08x", credentials.Nc), credentials.Cnonce, "auth", h(req.Method, req.URL.RequestURI()))
	if a.closed || credentials.Username != "abcdefgh" || credentials.Response != want {
		return a.challenge("refused", false), nil
	}
	if a.never || a.stale[credentials.Nonce] || credentials.Nonce != a.nonce {
		delete(a.stale, credentials.Nonce)
		return a.challenge("stale", true), nil
	}
	if a.counts[a.nonce] == nil {
		a.counts[a.nonce] = map[int]bool{}
	}
	if a.counts[a.nonce][credentials.Nc] {
		return a.challenge("replay", false), nil
	}
	a.counts[a.nonce][credentials.Nc] = true
	a.log = append(a.log, a.nonce+" "+strconv.Itoa(credentials.Nc))
	if a.body != nil {
		return a.body(), nil
	}
	return reply(204, ""), nil
}

func (a *digestAPI) challenge(why string, stale bool) *http.Response {
	a.log = append(a.log, why)
	return reply(401, adminProblem(401, "", "You are not authorized for this resource."), "WWW-Authenticate",
		fmt.Sprintf(`Digest realm="MMS Public API", domain="", nonce="%s", algorithm=MD5, qop="%s", stale=%t`, a.nonce, a.qop, stale))
}

func TestDigest(t *testing.T) {
	tests := []struct {
		name  string
		setup func(*digestAPI)
		steps []func(*digestAPI) // Before each call.
		want  []string
		fails jobs.Reason // Of the last call.
	}{
		{name: "nonce is used again", steps: []func(*digestAPI){nil, nil, nil}, want: []string{"challenge", "n1 1", "n1 2", "n1 3"}},
		{
			name: "stale nonce", steps: []func(*digestAPI){nil, func(a *digestAPI) { a.stale["n1"], a.nonce = true, "n2" }, nil},
			want: []string{"challenge", "n1 1", "stale", "n2 1", "n2 2"},
		},
		{
			name: "nonce that is handed out again keeps its count", steps: []func(*digestAPI){nil, func(a *digestAPI) { a.stale["n1"] = true }},
			want: []string{"challenge", "n1 1", "stale", "n1 3"},
		},
		{
			name: "nonces that are always stale", setup: func(a *digestAPI) { a.never = true }, steps: []func(*digestAPI){nil},
			want: []string{"challenge", "stale", "stale", "stale"}, fails: jobs.ReasonProtocol,
		},
		{name: "wrong key", setup: func(a *digestAPI) { a.closed = true }, steps: []func(*digestAPI){nil}, want: []string{"challenge", "refused"}, fails: jobs.ReasonUnauthorized},
		{
			name: "key that was revoked later", steps: []func(*digestAPI){nil, func(a *digestAPI) { a.closed, a.nonce = true, "n2" }},
			want: []string{"challenge", "n1 1", "refused", "refused"}, fails: jobs.ReasonUnauthorized,
		},
		{name: "two sorts of protection", setup: func(a *digestAPI) { a.qop = "auth-int, auth" }, steps: []func(*digestAPI){nil}, want: []string{"challenge", "n1 1"}},
		{
			name: "failure with a good key", setup: func(a *digestAPI) { a.body = func() *http.Response { return reply(500, "") } },
			steps: []func(*digestAPI){nil}, want: []string{"challenge", "n1 1"}, fails: jobs.ReasonUnavailable,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			api := newDigestAPI(t)
			if tt.setup != nil {
				tt.setup(api)
			}
			c := newClient(t, config(api))
			j := job(t, jobs.JWKSRevoke, "key")
			for i, step := range tt.steps {
				if step != nil {
					step(api)
				}
				if i < len(tt.steps)-1 || tt.fails == "" {
					revokeWorks(t, c, j)
					continue
				}
				f := revokeFails(t, c, j)
				if f.Reason != tt.fails {
					t.Errorf("reason %s, want %s (%v)", f.Reason, tt.fails, f)
				}
				if f.Reason == jobs.ReasonUnauthorized && f.Err.Error() != "HTTP 401: You are not authorized for this resource." {
					t.Errorf("error %q", f.Err)
				}
			}
			if diff := cmp.Diff(tt.want, api.log); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDigestConcurrent: many calls are challenged at once with the same nonce and share it from
// then on, and no count is used twice.
func TestDigestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newDigestAPI(t)
		api.slow = true
		c := newClient(t, config(api))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				revokeWorks(t, c, job(t, jobs.JWKSRevoke, "key"))
				revokeWorks(t, c, job(t, jobs.JWKSRevoke, "key"))
			})
		}
		wg.Wait()
		if counts, requests := len(api.counts["n1"]), len(api.log); counts != 100 || requests != 150 {
			t.Errorf("%d counts of the nonce in %d requests, want 100 in 150", counts, requests)
		}
	})
}

// TestDigestOddChallenges: what cannot be answered is a refusal.
func TestDigestOddChallenges(t *testing.T) {
	tests := []struct {
		name      string
		challenge []string
	}{
		{name: "none"},
		{name: "Basic", challenge: []string{`Basic realm="x"`}},
		{name: "unknown algorithm", challenge: []string{`Digest realm="x", nonce="n", algorithm=MD9, qop="auth"`}},
		{name: "unknown protection", challenge: []string{`Digest realm="x", nonce="n", qop="auth-conf"`}},
		{name: "garbage", challenge: []string{`Digest realm="x`, `Digest =`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			requests := 0
			c := newClient(t, config(transportFunc(func(*http.Request) (*http.Response, error) {
				requests++
				resp := reply(401, `{"error":401,"detail":"No."}`)
				resp.Header["Www-Authenticate"] = tt.challenge
				return resp, nil
			})))
			f := revokeFails(t, c, job(t, jobs.JWKSRevoke, "key"))
			if f.Reason != jobs.ReasonUnauthorized || requests != 1 || f.Err.Error() != "HTTP 401: No." {
				t.Errorf("got %v after %d requests", f, requests)
			}
		})
	}
}
