package door_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"rekey/internal/door"
	"rekey/internal/kinds"
)

var bearerAuth = http.Header{"Authorization": {"Bearer t0ken"}}

// A canary in every shape.
const (
	canaryJWT    = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"
	canarySecret = "mdb_sa_sk_0CanaryCanaryCanaryCanaryCanaryCanary00x"
	canaryPair   = "yhltsukm:0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
	canaryURI    = "mongodb+srv://app:c4naryPassw0rd@cluster0.abcde.mongodb.net/db"
	canaryPlain  = "f4k3-0paque.canary.t0ken"
	canaryOwn    = "0wn-w0rker-s3cret-x9"
)

// TestSecretsAreSealed: what may be a credential is sealed in its place, and all else stays for policies to read.
func TestSecretsAreSealed(t *testing.T) {
	tests := []struct {
		name, body, want string
	}{
		{"a JWT", `{"value":"` + canaryJWT + `"}`, `{"value":"` + sealed(canaryJWT) + `"}`},
		{"a client secret", `{"value":"` + canarySecret + `"}`, `{"value":"` + sealed(canarySecret) + `"}`},
		{"a key pair", `{"value":"` + canaryPair + `"}`, `{"value":"` + sealed(canaryPair) + `"}`},
		{"a connection string, as a whole", `{"value":"` + canaryURI + `"}`, `{"value":"` + sealed(canaryURI) + `"}`},
		{"a text by the name of its member", `{"token":"` + canaryPlain + `"}`, `{"token":"` + sealed(canaryPlain) + `"}`},
		{"texts of a list", `{"tokens":[{"access_token":"` + canaryPlain + `"}]}`, `{"tokens":[{"access_token":"` + sealed(canaryPlain) + `"}]}`},
		{"a text by a configured name", `{"found":"` + canaryPlain + `"}`, `{"found":"` + sealed(canaryPlain) + `"}`},
		{"a list by a configured name", `{"found":["` + canaryPlain + `"]}`, `{"found":["` + sealed(canaryPlain) + `"]}`},
		{"in a sentence", `{"message":"leaked ` + canarySecret + ` in a file"}`, `{"message":"leaked ` + sealed(canarySecret) + ` in a file"}`},
		{"in the name of a member", `{"` + canaryJWT + `":1}`, `{"` + sealed(canaryJWT) + `":1}`},
		{"one of the worker's own", `{"message":"it is ` + canaryOwn + ` indeed"}`, `{"message":"` + sealed("it is "+canaryOwn+" indeed") + `"}`},
		{
			"names of types, states and ids",
			`{"secret_type":"mongodb_atlas_token","credential_type":"x509","secret_scanning":true,"token_count":12345678901,"validity":"active","id":"5ec0000000000000000000b1"}`,
			`{"secret_type":"mongodb_atlas_token","credential_type":"x509","secret_scanning":true,"token_count":12345678901,"validity":"active","id":"5ec0000000000000000000b1"}`,
		},
		{"what is sealed already", `{"token":"` + sealed(canaryPlain) + `"}`, `{"token":"` + sealed(canaryPlain) + `"}`},
		{"what says that there is none", `{"token":"[redacted]","secret":"","password":"***"}`, `{"token":"[redacted]","secret":"","password":"***"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, door.Door{Type: door.TypeBearer, Secrets: []string{"found"}}, "t0ken")
			r.wantStatus(r.post(tt.body, bearerAuth), http.StatusAccepted)
			got, err := json.Marshal(r.one().Data)
			if err != nil {
				t.Fatal(err)
			}
			var want any
			if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
				t.Fatal(err)
			}
			wanted, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(wanted) {
				t.Errorf("stored %s\nwant   %s", got, wanted)
			}
			r.wantNoCanary(canaryJWT, canarySecret, canaryPair, "c4naryPassw0rd", canaryPlain, canaryOwn)
		})
	}
}

// TestNamesShowNoSecret: an id, a header or a subject is no place for a credential.
func TestNamesShowNoSecret(t *testing.T) {
	r := newRig(t, door.Door{Type: door.TypeGitHub}, "k3y")
	h := gitHub("k3y", "{}", canarySecret)
	h.Set("X-GitHub-Event", canaryJWT)
	r.wantStatus(r.post("{}", h), http.StatusAccepted)
	r.wantNoCanary(canaryJWT, canarySecret)
	r = newRig(t, door.Door{Type: door.TypeBearer}, "t0ken")
	r.post(`{"specversion":"1.0","id":"`+canarySecret+`","source":"x","type":"t","subject":"`+canaryJWT+`"}`, bearerAuth)
	r.wantNoCanary(canaryJWT, canarySecret)
	r = newRig(t, door.Door{Type: door.TypeGitHub}, "k3y")
	r.post(`{"a":"`+canarySecret, gitHub("k3y", `{"a":"`+canarySecret, "1"))
	r.post(`{"a":"`+canarySecret+`"}`, nil)
	r.wantNoCanary(canarySecret)
	if r.logs.FilterMessage("request refused").Len() != 2 {
		t.Error("refusals are not logged")
	}
}

func TestWhatIsPosted(t *testing.T) {
	const request = `{"kind":"token.revoke","params":{"token":"` + canaryPlain + `"}}`
	const cloudEvent = `{"specversion":"1.0","id":"7","source":"https://soar.example.com","type":"com.example.leaked","subject":"case 3","data":{"a":1}}`
	tests := []struct {
		name    string
		direct  bool
		body    string
		headers http.Header
		status  int
		id      string // "": any.
		typed   string
	}{
		{"any JSON", true, `{"a":1}`, nil, 202, "", "rekey.door.bearer.v1"},
		{"any JSON with a name of its own", true, `{"a":1}`, http.Header{"Idempotency-Key": {"k1"}}, 202, "k1", "rekey.door.bearer.v1"},
		{"a direct request", true, request, http.Header{"Idempotency-Key": {"k1"}}, 202, "k1", "rekey.job.requested.v1"},
		{"a direct request, not allowed", false, request, nil, 400, "", ""},
		{"a CloudEvent", false, cloudEvent, nil, 202, "7 of https://soar.example.com", "com.example.leaked"},
		{"a CloudEvent without a type", true, `{"specversion":"1.0","id":"7","source":"x"}`, nil, 400, "", ""},
		{"a CloudEvent of a type of Rekey's", true, `{"specversion":"1.0","id":"7","source":"x","type":"rekey.schedule.tick.v1"}`, nil, 400, "", ""},
		{"a CloudEvent that is a direct request, not allowed", false, `{"specversion":"1.0","id":"7","source":"x","type":"rekey.job.requested.v1","data":{}}`, nil, 400, "", ""},
		{"a text", true, `"text"`, nil, 400, "", ""},
		{"nothing", true, ``, nil, 400, "", ""},
		{"a member twice", true, `{"a":1,"a":2}`, nil, 400, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, door.Door{Type: door.TypeBearer, Direct: tt.direct}, "t0ken")
			h := bearerAuth.Clone()
			maps.Copy(h, tt.headers)
			r.wantStatus(r.post(tt.body, h), tt.status)
			if tt.status != http.StatusAccepted {
				return
			}
			got := r.one()
			if tt.id != "" && got.ID != tt.id || got.Type != tt.typed || got.Source != "rekey/door/bearer" {
				t.Errorf("stored %+v", got)
			}
			r.wantNoCanary(canaryPlain)
		})
	}
}

// TestReplayHasTheSameName: the ledger knows a delivery that is posted twice, also where its sender gives it no name.
func TestReplayHasTheSameName(t *testing.T) {
	r := newRig(t, door.Door{Type: door.TypeBearer}, "t0ken")
	for _, body := range []string{`{"a":1}`, `{"a":1}`, `{"a":2}`} {
		r.post(body, bearerAuth)
	}
	if r.events[0].ID != r.events[1].ID || r.events[0].ID == r.events[2].ID {
		t.Errorf("stored as %s, %s and %s", r.events[0].ID, r.events[1].ID, r.events[2].ID)
	}
}

func TestGitLabRevocation(t *testing.T) {
	const doc = "docs.gitlab.com/development/sec/token_revocation_api"
	kind := door.Door{Type: door.TypeGitLabRevocation, TokenTypes: []string{"gitleaks_rule_id_x"}, Params: map[string]string{"org_id": "5ec0000000000000000000b1"}, Account: "security"}
	element := func(token string) string {
		return `{"type":"gitleaks_rule_id_x","token":"` + token + `","location":"https://gitlab.example.com/a/-/blob/1/b#L1"}`
	}
	auth := func(text string) http.Header { return http.Header{"Authorization": {text}} }
	const types, revoke = "/in/gitlab-revocation/v1/revocable_token_types", "/in/gitlab-revocation/v1/revoke_tokens"
	tests := []struct {
		name, method, path, body string
		headers                  http.Header
		want, events             int
		document                 string
	}{
		{"types", "GET", types, "", auth("pre-shared"), 200, 0, doc},
		{"types, another token", "GET", types, "", auth("x"), 401, 0, doc},
		{"types, another method", "POST", types, "[]", auth("pre-shared"), 405, 0, doc},
		{"tokens", "POST", revoke, "[" + element(canarySecret) + "," + element(canaryPlain) + "]", auth("pre-shared"), 204, 2, doc},
		{"tokens, behind Bearer", "POST", revoke, "[" + element(canarySecret) + "]", auth("Bearer pre-shared"), 204, 1, doc},
		{"tokens, no token", "POST", revoke, "[" + element(canarySecret) + "]", nil, 401, 0, doc},
		{"none", "POST", revoke, "[]", auth("pre-shared"), 204, 0, doc},
		{"an unknown type", "POST", revoke, "[" + element(canarySecret) + `,{"type":"y","token":"t0"}]`, auth("pre-shared"), 400, 0, doc},
		{"an empty token", "POST", revoke, "[" + element("") + `]`, auth("pre-shared"), 400, 0, doc},
		{"no array", "POST", revoke, element(canarySecret), auth("pre-shared"), 400, 0, doc},
		{"another method", "GET", revoke, "", auth("pre-shared"), 405, 0, doc},
		{"another path", "GET", "/in/gitlab-revocation", "", auth("pre-shared"), 404, 0, doc},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, kind, "pre-shared")
			w := r.do(tt.method, tt.path, tt.body, tt.headers)
			r.wantStatus(w, tt.want)
			if len(r.events) != tt.events {
				t.Errorf("%d events are stored, want %d", len(r.events), tt.events)
			}
			if tt.path == types && tt.want == http.StatusOK && strings.TrimSpace(w.Body.String()) != `{"types":["gitleaks_rule_id_x"]}` {
				t.Errorf("answered %s", w.Body)
			}
			for _, e := range r.events {
				request := e.fields()
				params := request["params"].(map[string]any)
				if e.Type != "rekey.job.requested.v1" || request["kind"] != string(kinds.LeakContain) || request["account"] != "security" ||
					params["org_id"] != "5ec0000000000000000000b1" || !strings.HasPrefix(params["secret"].(string), "rekey-seal.") {
					t.Errorf("stored %s", e.raw)
				}
			}
			r.wantNoCanary(canarySecret, canaryPlain)
		})
	}
	r := newRig(t, kind, "pre-shared")
	for range 2 {
		r.do("POST", revoke, "["+element(canarySecret)+"]", auth("pre-shared"))
	}
	if r.events[0].ID != r.events[1].ID {
		t.Error("the same token twice has two names")
	}
}

func TestMTLS(t *testing.T) {
	r := newRig(t, door.Door{Type: door.TypeMTLS, CertNames: []string{"siem.example.com"}}, "-")
	post := func(state *tls.ConnectionState) *httptest.ResponseRecorder {
		q := httptest.NewRequest(http.MethodPost, "/in/mtls", strings.NewReader("{}"))
		q.TLS = state
		return r.serve(q)
	}
	chain := func(c x509.Certificate) *tls.ConnectionState {
		return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{&c}}, PeerCertificates: []*x509.Certificate{&c}}
	}
	ours := x509.Certificate{DNSNames: []string{"siem.example.com"}}
	r.wantStatus(post(nil), http.StatusUnauthorized)
	r.wantStatus(post(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{&ours}}), http.StatusUnauthorized) // Was not verified.
	r.wantStatus(post(chain(x509.Certificate{Subject: pkix.Name{CommonName: "other"}})), http.StatusUnauthorized)
	r.wantStatus(post(chain(ours)), http.StatusAccepted)
	r.wantStatus(post(chain(x509.Certificate{Subject: pkix.Name{CommonName: "siem.example.com"}})), http.StatusAccepted)
}

// TestManyBodies: strangers whose bodies do not end hold a bounded part of the memory, and others are served.
func TestManyBodies(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Door{Type: door.TypeBearer}, "t0ken")
	handler := r.doors.Handlers()["bearer"]
	ask := func(address string, body io.Reader) int {
		q := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/in/bearer", body)
		q.RemoteAddr = address
		q.Header.Set("Authorization", "Bearer t0ken")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, q)
		return w.Code
	}
	const most, each = 32, 1 << 20
	var strangers sync.WaitGroup
	var ends []*io.PipeWriter
	for i := range most {
		from, to := io.Pipe()
		ends = append(ends, to)
		strangers.Go(func() { ask("192.0.2.1:"+strconv.Itoa(i+1), from) })
		for _, part := range [][]byte{make([]byte, each), nil} { // The second is read once the first was counted.
			if _, err := to.Write(part); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := ask("192.0.2.1:99", strings.NewReader(`{"a":1}`)); got != http.StatusServiceUnavailable {
		t.Errorf("the same address: %d", got)
	}
	if got := ask("192.0.2.2:1", strings.NewReader(`{"a":1}`)); got != http.StatusAccepted {
		t.Errorf("another address: %d", got)
	}
	for _, to := range ends {
		to.CloseWithError(io.ErrUnexpectedEOF)
	}
	strangers.Wait()
	if got := ask("192.0.2.1:99", strings.NewReader(`{"a":1}`)); got != http.StatusAccepted {
		t.Errorf("afterwards: %d", got)
	}
}

// TestLongArrays: an array that could not be stored in time is refused as a whole.
func TestLongArrays(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{1000: http.StatusNoContent, 1001: http.StatusRequestEntityTooLarge} {
		r := newRig(t, door.Door{Type: door.TypeGitLabRevocation, TokenTypes: []string{"t"}}, "t0ken")
		body := "[" + strings.Repeat(`{"type":"t","token":"x","location":""},`, n-1) + `{"type":"t","token":"x","location":""}]`
		q := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/in/gitlab-revocation/v1/revoke_tokens", strings.NewReader(body))
		q.Header.Set("Authorization", "t0ken")
		w := httptest.NewRecorder()
		r.doors.Handlers()["gitlab-revocation"].ServeHTTP(w, q)
		if w.Code != want {
			t.Errorf("%d tokens: %d, want %d", n, w.Code, want)
		}
	}
}
