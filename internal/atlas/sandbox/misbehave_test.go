package sandbox

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// revocations counts how often JWKS were revoked.
func (f *fixture) revocations() int {
	return f.State().Federations[0].IdentityProviders[0].JWKSRevocations
}

// send makes a JWKS revocation and returns the response unread.
func (f *fixture) send() (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(f.request("DELETE", jwksPath, "",
		"Authorization", "Bearer "+f.MintToken(ClientID), "Accept", "application/vnd.atlas.2025-02-19+json"))
}

func TestFaultAnswers(t *testing.T) {
	path := jwksPath[1:]
	const told = `"detail":"A fault was injected into the sandbox.","parameters":[]}`
	tests := []struct {
		name       string
		fault      Fault
		wantStatus int
		wantBody   string
		wantHeader map[string]string // Empty for a header that must be absent.
	}{
		{
			name: "429", fault: Fault{Kind: "429", RetryAfter: "2"}, wantStatus: 429,
			wantBody: `{"error":429,"errorCode":"RATE_LIMITED_TOKEN_BUCKET","reason":"Too Many Requests","detail":"Rate limit exceeded for ` + path +
				`. Please retry after 2 seconds. Request capacity: 300. Refill rate: 100 per 60 seconds.","parameters":["` + path + `",2,300,100,60]}`,
			wantHeader: map[string]string{"Retry-After": "2", "RateLimit-Limit": "300", "RateLimit-Remaining": "0"},
		},
		{
			name: "429 without a wait", fault: Fault{Kind: "429"}, wantStatus: 429,
			wantBody:   `{"error":429,"errorCode":"RATE_LIMITED_TOKEN_BUCKET","reason":"Too Many Requests","detail":"Rate limit exceeded for ` + path + `.","parameters":[]}`,
			wantHeader: map[string]string{"Retry-After": "", "RateLimit-Limit": ""},
		},
		{
			name: "429 with nonsense", fault: Fault{Kind: "429", RetryAfter: "soon"}, wantStatus: 429,
			wantBody:   `{"error":429,"errorCode":"RATE_LIMITED_TOKEN_BUCKET","reason":"Too Many Requests","detail":"Rate limit exceeded for ` + path + `.","parameters":[]}`,
			wantHeader: map[string]string{"Retry-After": "soon"},
		},
		{
			name: "503 with a date, rounded up", fault: Fault{Kind: "503", RetryAfter: "date:2s"}, wantStatus: 503,
			wantBody:   `{"error":503,"errorCode":"SERVICE_UNAVAILABLE","reason":"Service Unavailable",` + told,
			wantHeader: map[string]string{"Retry-After": "Mon, 04 May 2026 03:02:04 GMT"},
		},
		{
			name: "503 with a date in the past", fault: Fault{Kind: "503", RetryAfter: "date:-1h"}, wantStatus: 503,
			wantBody:   `{"error":503,"errorCode":"SERVICE_UNAVAILABLE","reason":"Service Unavailable",` + told,
			wantHeader: map[string]string{"Retry-After": "Mon, 04 May 2026 02:02:02 GMT"},
		},
		{
			name: "400 that is a rate limit", fault: Fault{Kind: "400", ErrorCode: "RATE_LIMITED"}, wantStatus: 400,
			wantBody: `{"error":400,"errorCode":"RATE_LIMITED","reason":"Bad Request",` + told,
		},
		{name: "500", fault: Fault{Kind: "500"}, wantStatus: 500, wantBody: `{"error":500,"errorCode":"UNEXPECTED_ERROR","reason":"Internal Server Error",` + told},
		{
			name: "401", fault: Fault{Kind: "401"}, wantStatus: 401,
			wantBody:   `{"error":401,"reason":"Unauthorized","detail":"You are not authorized for this resource."}`,
			wantHeader: map[string]string{"WWW-Authenticate": `Bearer realm="MMS Public API", error="invalid_token"`},
		},
		{name: "403", fault: Fault{Kind: "403"}, wantStatus: 403, wantBody: `{"error":403,"errorCode":"IP_ADDRESS_NOT_ON_ACCESS_LIST","reason":"Forbidden",` + told},
		{name: "404", fault: Fault{Kind: "404"}, wantStatus: 404, wantBody: `{"error":404,"errorCode":"RESOURCE_NOT_FOUND","reason":"Not Found",` + told},
		{name: "409", fault: Fault{Kind: "409"}, wantStatus: 409, wantBody: `{"error":409,"errorCode":"CONFLICT","reason":"Conflict",` + told},
		{name: "204 that is a lie", fault: Fault{Kind: "204"}, wantStatus: 204},
		{name: "200", fault: Fault{Kind: "200"}, wantStatus: 200},
		{name: "page", fault: Fault{Kind: FaultHTML, RetryAfter: "7"}, wantStatus: 503, wantBody: htmlPage, wantHeader: map[string]string{"Retry-After": "7", "Content-Type": "text/html; charset=utf-8"}},
		{name: "page with a status", fault: Fault{Kind: FaultHTML, Status: 502}, wantStatus: 502, wantBody: htmlPage, wantHeader: map[string]string{"Retry-After": ""}},
		{name: "redirect", fault: Fault{Kind: FaultRedirect}, wantStatus: 307, wantHeader: map[string]string{"Location": "/sandbox/redirected"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			tt.fault.Operation, tt.fault.Times = OperationJWKSRevoke, 1
			if err := f.Inject(tt.fault); err != nil {
				t.Fatal(err)
			}
			got := f.bearer(ClientID, "DELETE", jwksPath)
			if diff := cmp.Diff(tt.wantBody, got.body); diff != "" || got.status != tt.wantStatus {
				t.Errorf("status %d, body (-want +got):\n%s", got.status, diff)
			}
			for name, want := range tt.wantHeader {
				if got.header.Get(name) != want {
					t.Errorf("%s is %q, want %q", name, got.header.Get(name), want)
				}
			}
			if r := f.Requests()[0]; r.Fault != tt.fault.Kind || r.Status != tt.wantStatus {
				t.Errorf("the journal has %+v", r)
			}
			if f.revocations() != 0 {
				t.Error("the call had an effect")
			}
			if got := f.bearer(ClientID, "DELETE", jwksPath); got.status != 204 || f.revocations() != 1 {
				t.Errorf("the next call: %d", got.status)
			}
		})
	}
}

func TestFaultsOfOAuth(t *testing.T) {
	tests := []struct {
		name, kind, retryAfter, errorCode string
		wantError                         string
	}{
		{name: "400", kind: "400", wantError: "invalid_request"},
		{name: "400 with a code", kind: "400", errorCode: "invalid_grant", wantError: "invalid_grant"},
		{name: "401", kind: "401", wantError: "invalid_client"},
		{name: "403", kind: "403", wantError: "access_denied"},
		{name: "429", kind: "429", retryAfter: "3", wantError: "rate_limited"},
		{name: "500", kind: "500", wantError: "server_error"},
		{name: "503", kind: "503", retryAfter: "3", wantError: "server_error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			if err := f.Inject(Fault{Operation: OperationToken, Kind: tt.kind, RetryAfter: tt.retryAfter, ErrorCode: tt.errorCode}); err != nil {
				t.Fatal(err)
			}
			got := f.oauth("/api/oauth/token", ClientID, testSecret, credentialsForm())
			if got.code(t) != tt.wantError || strconv.Itoa(got.status) != tt.kind || got.header.Get("Retry-After") != tt.retryAfter {
				t.Errorf("got %d, Retry-After %q: %s", got.status, got.header.Get("Retry-After"), got.body)
			}
			if revoked := f.oauth("/api/oauth/revoke", ClientID, testSecret, url.Values{"token": {"x"}}); revoked.status != 200 {
				t.Errorf("the other endpoint: %d", revoked.status)
			}
		})
	}
}

func TestReset(t *testing.T) {
	tests := []struct {
		name, kind string
		wantEffect int
	}{
		{name: "before", kind: FaultReset, wantEffect: 0},
		{name: "after", kind: FaultResetAfter, wantEffect: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			if err := f.Inject(Fault{Operation: OperationAny, Kind: tt.kind, Times: 1}); err != nil {
				t.Fatal(err)
			}
			response, err := f.send()
			if err == nil {
				response.Body.Close()
				t.Fatalf("got %d", response.StatusCode)
			}
			if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
				t.Errorf("the error is %v", err)
			}
			if f.revocations() != tt.wantEffect {
				t.Errorf("%d revocations", f.revocations())
			}
			if r := f.Requests()[0]; r.Status != 0 || r.Fault != tt.kind {
				t.Errorf("the journal has %+v", r)
			}
			if got := f.bearer(ClientID, "DELETE", jwksPath); got.status != 204 {
				t.Errorf("the next call: %d", got.status)
			}
		})
	}
}

func TestResetAfterWaitsForSuccess(t *testing.T) {
	f := newFixture(t, Config{})
	if err := f.Inject(Fault{Operation: OperationIDPDelete, Kind: FaultResetAfter, Times: 1}); err != nil {
		t.Fatal(err)
	}
	if got := f.bearer(ClientID, "DELETE", idpPath(FederationID, LockedIdentityProviderID)); got.status != 409 {
		t.Errorf("a call that is refused: %d", got.status)
	}
	if len(f.State().Faults) != 1 {
		t.Error("the fault is spent")
	}
}

func TestResetWithoutConnection(t *testing.T) {
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("recovered %v", err)
		}
	}()
	reset(httptest.NewRecorder())
}

func TestCut(t *testing.T) {
	tests := []struct {
		name   string
		status int
		want   int
	}{
		{name: "error", want: 500},
		{name: "success", status: 200, want: 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			if err := f.Inject(Fault{Operation: OperationAny, Kind: FaultCut, Status: tt.status}); err != nil {
				t.Fatal(err)
			}
			response, err := f.send()
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if !errors.Is(err, io.ErrUnexpectedEOF) || response.StatusCode != tt.want || len(body) == 0 || int64(len(body)) >= response.ContentLength {
				t.Errorf("got %d, %d of %d bytes: %v", response.StatusCode, len(body), response.ContentLength, err)
			}
		})
	}
}

func TestEndless(t *testing.T) {
	f := newFixture(t, Config{})
	if err := f.Inject(Fault{Operation: OperationAny, Kind: FaultEndless}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := f.request("DELETE", jwksPath, "", "Authorization", "Bearer "+f.MintToken(ClientID))
	response, err := http.DefaultTransport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	n, err := io.CopyN(io.Discard, response.Body, endlessBytes)
	if err != nil || response.StatusCode != 500 {
		t.Fatalf("status %d, %d bytes: %v", response.StatusCode, n, err)
	}
	// The body goes on until the caller has had enough. The fixture's server can only be closed
	// once the handler has noticed that.
	cancel()
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Inject(Fault{Operation: OperationAny, Kind: FaultSlow, Delay: 20 * time.Second, Times: 1}, Fault{Operation: OperationAny, Kind: "500", Delay: time.Second}); err != nil {
			t.Fatal(err)
		}
		for i, want := range []struct {
			status int
			took   time.Duration
		}{{204, 20 * time.Second}, {500, time.Second}} {
			r := httptest.NewRequest("DELETE", jwksPath, nil)
			r.Header.Set("Authorization", "Bearer "+s.MintToken(ClientID))
			r.Header.Set("Accept", "application/vnd.atlas.2025-02-19+json")
			w, start := httptest.NewRecorder(), time.Now()
			s.ServeHTTP(w, r)
			if took := time.Since(start); w.Code != want.status || took != want.took {
				t.Errorf("call %d: %d after %s", i, w.Code, took)
			}
		}
	})
}

func TestSlowAndGone(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Inject(Fault{Operation: OperationAny, Kind: FaultSlow, Delay: time.Minute}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "DELETE", jwksPath, nil)
	r.Header.Set("Authorization", "Bearer "+s.MintToken(ClientID))
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a caller that is gone got an answer")
			}
		}()
		s.ServeHTTP(w, r)
	}()
	if n := s.State().Federations[0].IdentityProviders[0].JWKSRevocations; n != 0 {
		t.Error("the call had an effect")
	}
}

func TestRedirectIsCounted(t *testing.T) {
	f := newFixture(t, Config{})
	if err := f.Inject(Fault{Operation: OperationJWKSRevoke, Kind: FaultRedirect, Times: 1}); err != nil {
		t.Fatal(err)
	}
	// http.Client follows, which a careful client does not.
	response, err := http.DefaultClient.Do(f.request("DELETE", jwksPath, "", "Authorization", "Bearer "+f.MintToken(ClientID)))
	if err != nil {
		t.Fatal(err)
	}
	if got := readReply(t, response); got.status != 200 {
		t.Errorf("got %d", got.status)
	}
	got := f.Requests()
	if len(got) != 2 || got[1].Operation != OperationRedirected || got[1].Method != "DELETE" {
		t.Errorf("the journal has %+v", got)
	}
}
