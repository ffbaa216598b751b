package atlas_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
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
	"rekey/internal/kinds"
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
			j := job(t, kinds.JWKSRevoke, "key")
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
				revokeWorks(t, c, job(t, kinds.JWKSRevoke, "key"))
				revokeWorks(t, c, job(t, kinds.JWKSRevoke, "key"))
			})
		}
		wg.Wait()
		if counts, requests := len(api.counts["n1"]), len(api.log); counts != 100 || requests != 150 {
			t.Errorf("%d counts of the nonce in %d requests, want 100 in 150", counts, requests)
		}
	})
}

// TestDigestChallenges: what is unambiguous is answered, however it is written and folded.
func TestDigestChallenges(t *testing.T) {
	const realm, nonce = `MMS "Public" API, v2`, "n,1=="
	md5Sum := func(parts ...string) string {
		sum := md5.Sum([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(sum[:])
	}
	sha256Sum := func(parts ...string) string {
		sum := sha256.Sum256([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(sum[:])
	}
	const quoted = `realm="MMS \"Public\" API, v2", nonce="n,1=="`
	tests := []struct {
		name      string
		challenge []string
		sum       func(...string) string // Default MD5.
		session   bool
		plain     bool // Without qop.
		qop       string
	}{
		{name: "usual", challenge: []string{`Digest ` + quoted + `, algorithm=MD5, qop="auth", stale=false`}},
		{name: "behind Basic in one header", challenge: []string{`Basic realm="a, b", Digest ` + quoted + `, qop="auth"`}},
		{name: "before Basic in one header", challenge: []string{`Digest ` + quoted + `, qop="auth", Basic realm="Digest realm=x"`}},
		{name: "among others", challenge: []string{`Negotiate`, `Negotiate YIIabc==, Bearer, Digest ` + quoted + `, qop=auth, NTLM`}},
		{name: "of its own header", challenge: []string{`Basic realm="x"`, `Digest ` + quoted + `, qop="auth"`}},
		{name: "lower case and odd white space", challenge: []string{"  digest\trealm = \"MMS \\\"Public\\\" API, v2\" ,,nonce=\t\"n,1==\",QOP=\"auth\" , "}},
		{name: "two sorts of protection", challenge: []string{`Digest ` + quoted + `, qop="auth,auth-int"`}},
		{name: "two sorts, the other way", challenge: []string{`Digest ` + quoted + `, qop="auth-int, auth"`}},
		{name: "protection of the body", challenge: []string{`Digest ` + quoted + `, qop="auth-int"`}, qop: "auth-int"},
		{name: "without protection", challenge: []string{`Digest ` + quoted}, plain: true},
		{name: "session", challenge: []string{`Digest ` + quoted + `, algorithm=MD5-sess, qop="auth"`}, session: true},
		{name: "session, quoted", challenge: []string{`Basic realm="x", Digest ` + quoted + `, algorithm="md5-SESS", qop="auth"`}, session: true},
		{name: "SHA-256", challenge: []string{`Digest ` + quoted + `, algorithm=SHA-256, qop="auth"`}, sum: sha256Sum},
		{name: "SHA-256 session", challenge: []string{`Digest ` + quoted + `, algorithm=SHA-256-sess, qop="auth"`}, sum: sha256Sum, session: true},
		{name: "the first that is known", challenge: []string{`Digest ` + quoted + `, algorithm=SHA-999, qop="auth", Digest ` + quoted + `, algorithm=MD5, qop="auth"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.sum == nil {
				tt.sum = md5Sum
			}
			if tt.qop == "" {
				tt.qop = "auth"
			}
			h, requests, session := tt.sum, 0, ""
			c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
				requests++
				header := req.Header.Get("Authorization")
				if header == "" {
					resp := reply(401, `{"error":401,"detail":"No."}`)
					resp.Header["Www-Authenticate"] = tt.challenge
					return resp, nil
				}
				got, err := digest.ParseCredentials(header)
				if err != nil {
					t.Fatal(err)
				}
				if session == "" {
					session = got.Cnonce
				}
				a1 := h("abcdefgh", realm, privateKey)
				if tt.session {
					a1 = h(a1, nonce, session)
				}
				a2 := h(req.Method, req.URL.RequestURI())
				if tt.qop == "auth-int" {
					a2 = h(req.Method, req.URL.RequestURI(), h(""))
				}
				want := h(a1, nonce, fmt.Sprintf("%08x", got.Nc), got.Cnonce, tt.qop, a2)
				if tt.plain {
					want = h(a1, nonce, a2)
				}
				if got.Response != want || got.Realm != realm || got.Nonce != nonce || got.Nc != requests-1 && !tt.plain {
					t.Errorf("credentials %+v do not answer %v", got, tt.challenge)
				}
				return reply(204, ""), nil
			})))
			for range 3 { // The nonce is used again.
				revokeWorks(t, c, job(t, kinds.JWKSRevoke, "key"))
			}
			if requests != 4 {
				t.Errorf("%d requests, want the first one twice", requests)
			}
		})
	}
}

// TestDigestOddChallenges: of what cannot be answered the cause is said. The key was not refused by it.
func TestDigestOddChallenges(t *testing.T) {
	const unsaid = "HTTP 401: No. (the key was not checked: the server "
	tests := []struct {
		name      string
		challenge []string
		reason    jobs.Reason // Default protocol.
		want      string
	}{
		{name: "none", reason: jobs.ReasonUnauthorized, want: unsaid + "names no way to authenticate)"},
		{name: "Basic", challenge: []string{`Basic realm="x"`}, want: unsaid + "offers only Basic, and no HTTP Digest, which API keys need)"},
		{name: "Basic and Bearer in one header", challenge: []string{`Basic realm="x", Bearer`}, want: unsaid + "offers only Basic and Bearer, and no HTTP Digest, which API keys need)"},
		{name: "Basic and Bearer", challenge: []string{`Basic realm="x"`, `Bearer realm="y"`}, want: unsaid + "offers only Basic and Bearer, and no HTTP Digest, which API keys need)"},
		{name: "unknown algorithm", challenge: []string{`Digest realm="x", nonce="n", algorithm=MD9, qop="auth"`}, want: unsaid + `asks for HTTP Digest with the algorithm "MD9"; MD5, SHA-256 and SHA-512-256 are known, each with -sess)`},
		{name: "unknown protection", challenge: []string{`Digest realm="x", nonce="n", qop="auth-conf"`}, want: unsaid + `asks for HTTP Digest with qop "auth-conf"; auth and auth-int are known)`},
		{name: "no nonce", challenge: []string{`Digest realm="x"`}, want: unsaid[:len(unsaid)-1] + "'s challenge of HTTP Digest cannot be read: it has no nonce, or ends inside of a quoted text)"},
		{name: "cut off", challenge: []string{`Digest nonce="n", realm="x`, `Digest =`, `=`, `,`, `"`}, want: unsaid[:len(unsaid)-1] + "'s challenge of HTTP Digest cannot be read: it has no nonce, or ends inside of a quoted text)"},
		{name: "a name that is a secret", challenge: []string{`mdb_sa_sk_canary realm="x"`}, want: unsaid + "offers only [secret], and no HTTP Digest, which API keys need)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refused := tt.reason != ""
			if !refused {
				tt.reason = jobs.ReasonProtocol
			}
			requests := 0
			c := newClient(t, config(transportFunc(func(*http.Request) (*http.Response, error) {
				requests++
				resp := reply(401, `{"error":401,"detail":"No."}`)
				resp.Header["Www-Authenticate"] = tt.challenge
				return resp, nil
			})))
			f := revokeFails(t, c, job(t, kinds.JWKSRevoke, "key"))
			if f.Reason != tt.reason || requests != 1 || f.Err.Error() != tt.want {
				t.Errorf("got %v after %d requests, want %s", f, requests, tt.want)
			}
			if err := c.CheckAccounts(t.Context()); (err != nil) != refused {
				t.Errorf("the account is %v", err)
			}
		})
	}
}

func FuzzChallenge(f *testing.F) {
	for _, seed := range []string{
		`Digest realm="MMS Public API", domain="", nonce="n1", algorithm=MD5, qop="auth", stale=false`, `Basic realm="a, b", Digest nonce="x\"y`, "Negotiate a==,=,\"", "", ",", "a b c",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, challenge string) {
		c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("Authorization") != "" {
				return reply(204, ""), nil
			}
			return reply(401, "", "WWW-Authenticate", challenge), nil
		})))
		_, err := c.Revoke(t.Context(), job(t, kinds.JWKSRevoke, "key"))
		if f, ok := errors.AsType[*jobs.Failure](err); err != nil && (!ok || f.Reason != jobs.ReasonProtocol && f.Reason != jobs.ReasonUnauthorized) {
			t.Errorf("%q: %v", challenge, err)
		}
	})
}
