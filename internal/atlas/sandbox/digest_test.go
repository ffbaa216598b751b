package sandbox

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/icholy/digest"
)

var challengePattern = regexp.MustCompile(`^Digest realm="MMS Public API", domain="", nonce="([A-Za-z0-9+/=]{32})", algorithm=MD5, qop="auth", stale=(true|false)$`)

// challenged returns the nonce of an answer that must be a challenge.
func challenged(t *testing.T, r reply, wantStale string) string {
	t.Helper()
	match := challengePattern.FindStringSubmatch(r.header.Get("WWW-Authenticate"))
	want := `{"error":401,"reason":"Unauthorized","detail":"You are not authorized for this resource."}`
	if len(match) != 3 || match[2] != wantStale || r.status != 401 || r.body != want {
		t.Fatalf("want a challenge with stale=%s, got %d %v %s", wantStale, r.status, r.header, r.body)
	}
	return match[1]
}

// authorization computes the header as RFC 7616 says, apart from what edit changes.
func authorization(path, nonce string, count int, edit map[string]string) string {
	f := map[string]string{
		"username": PublicKey, "realm": realm, "nonce": nonce, "uri": path, "algorithm": "MD5",
		"qop": "auth", "nc": fmt.Sprintf("%08x", count), "cnonce": "c0ffee", "password": testPrivateKey, "method": "DELETE",
	}
	maps.Copy(f, edit)
	f["response"] = md5Hex(strings.Join([]string{
		md5Hex(f["username"] + ":" + f["realm"] + ":" + f["password"]), f["nonce"], f["nc"], f["cnonce"], f["qop"],
		md5Hex(f["method"] + ":" + f["uri"]),
	}, ":"))
	return fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", algorithm=%s, qop=%s, nc=%s, cnonce="%s"`,
		f["username"], f["realm"], f["nonce"], f["uri"], f["response"], f["algorithm"], f["qop"], f["nc"], f["cnonce"])
}

func (f *fixture) digest(path, header string) reply {
	f.t.Helper()
	return f.do(f.request("DELETE", path, "", "Authorization", header, "Accept", "application/vnd.atlas.2025-03-12+json"))
}

func TestDigestRefusals(t *testing.T) {
	tests := []struct {
		name string
		edit map[string]string
		want int
	}{
		{name: "right", want: 204},
		{name: "algorithm in lower case", edit: map[string]string{"algorithm": "md5"}, want: 204},
		{name: "wrong password", edit: map[string]string{"password": "guess"}, want: 401},
		{name: "unknown user", edit: map[string]string{"username": "unknown"}, want: 401},
		{name: "service account", edit: map[string]string{"username": ClientID, "password": testSecret}, want: 401},
		{name: "other realm", edit: map[string]string{"realm": "elsewhere"}, want: 401},
		{name: "other uri", edit: map[string]string{"uri": "/"}, want: 401},
		{name: "other method", edit: map[string]string{"method": "GET"}, want: 401},
		{name: "other algorithm", edit: map[string]string{"algorithm": "SHA-256"}, want: 401},
		{name: "other qop", edit: map[string]string{"qop": "auth-int"}, want: 401},
		{name: "no cnonce", edit: map[string]string{"cnonce": ""}, want: 401},
		{name: "count zero", edit: map[string]string{"nc": "00000000"}, want: 401},
		{name: "count too short", edit: map[string]string{"nc": "1"}, want: 401},
		{name: "count no number", edit: map[string]string{"nc": "0000000g"}, want: 401},
		{name: "unknown nonce", edit: map[string]string{"nonce": strings.Repeat("A", 32)}, want: 401},
		{name: "no nonce", edit: map[string]string{"nonce": ""}, want: 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			nonce := challenged(t, f.digest(jwksPath, ""), "false")
			got := f.digest(jwksPath, authorization(jwksPath, nonce, 1, tt.edit))
			if got.status != tt.want {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			if tt.want == 401 {
				challenged(t, got, "false")
			}
		})
	}
}

func TestDigestCounts(t *testing.T) {
	steps := []struct {
		name  string
		count int
		want  int
	}{
		{name: "first", count: 1, want: 204},
		{name: "replayed", count: 1, want: 401},
		{name: "skipped ahead", count: 5, want: 204},
		{name: "overtaken", count: 3, want: 204},
		{name: "overtaken and replayed", count: 3, want: 401},
		{name: "far ahead", count: 100, want: 204},
		{name: "63 places late", count: 37, want: 204},
		{name: "64 places late", count: 36, want: 401},
		{name: "further than the window at once", count: 1000, want: 204},
		{name: "still replayed", count: 100, want: 401},
	}
	f := newFixture(t, Config{})
	nonce := challenged(t, f.digest(jwksPath, ""), "false")
	for _, tt := range steps {
		t.Run(tt.name, func(t *testing.T) {
			got := f.digest(jwksPath, authorization(jwksPath, nonce, tt.count, nil))
			if got.status != tt.want {
				t.Fatalf("count %d: got %d", tt.count, got.status)
			}
			if tt.want == 401 {
				challenged(t, got, "false")
			}
		})
	}
}

func TestDigestStale(t *testing.T) {
	tests := []struct {
		name      string
		age       time.Duration
		edit      map[string]string
		want      int
		wantStale string
	}{
		{name: "just in time", age: 20*time.Second - 1, want: 204},
		{name: "expired", age: 20 * time.Second, want: 401, wantStale: "true"},
		{name: "expired and wrong", age: 20 * time.Second, edit: map[string]string{"password": "guess"}, want: 401, wantStale: "false"},
		{name: "long expired", age: 1000 * time.Hour, want: 401, wantStale: "true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{NonceLifetime: 20 * time.Second})
			nonce := challenged(t, f.digest(jwksPath, ""), "false")
			f.clock.add(tt.age)
			got := f.digest(jwksPath, authorization(jwksPath, nonce, 1, tt.edit))
			if got.status != tt.want {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			if tt.want == 401 {
				fresh := challenged(t, got, tt.wantStale)
				if again := f.digest(jwksPath, authorization(jwksPath, fresh, 1, nil)); again.status != 204 {
					t.Errorf("with the new nonce: %d", again.status)
				}
			}
		})
	}
}

func TestNoncesAreBounded(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	n := newNonces(time.Minute)
	first := n.issue(now)
	if n.use(first, 1, now) != nonceGood {
		t.Fatal("the first nonce is refused")
	}
	for range maxNonces - 1 {
		n.use(n.issue(now), 1, now)
	}
	later := now.Add(time.Second)
	if n.use(n.issue(later), 1, later) != nonceGood || len(n.used) != 1 {
		t.Errorf("%d nonces are kept", len(n.used))
	}
	if got := n.use(first, 1, later); got != nonceStale {
		t.Errorf("a forgotten nonce can be replayed: %d", got)
	}
}

func TestDigestWithClient(t *testing.T) {
	f := newFixture(t, Config{})
	client := &http.Client{Transport: &digest.Transport{Username: PublicKey, Password: testPrivateKey}}
	call := func(path string, want int) {
		t.Helper()
		response, err := client.Do(f.request("DELETE", path, "", "Accept", "application/vnd.atlas.2025-03-12+json"))
		if err != nil {
			t.Fatal(err)
		}
		if got := readReply(t, response); got.status != want {
			t.Fatalf("got %d %s", got.status, got.body)
		}
	}
	call(jwksPath, 204)
	call(jwksPath+"?pretty=true", 204)
	f.clock.add(2 * time.Minute)
	call(x509PathV, 202)
	var got []int
	for _, r := range f.Requests() {
		got = append(got, r.Status)
		if r.Status != 401 && (r.Auth != AuthDigest || r.Account != PublicKey) {
			t.Errorf("request %s is by %q with %q", r.ID, r.Account, r.Auth)
		}
	}
	// One challenge to start with, and one because the nonce had become stale.
	if diff := cmp.Diff([]int{401, 204, 204, 401, 202}, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func TestParseDigest(t *testing.T) {
	tests := []struct {
		name, header string
		want         map[string]string
	}{
		{name: "mixed", header: `Digest a="1", b=2,C = "x,y=\"z\""`, want: map[string]string{"a": "1", "b": "2", "c": `x,y="z"`}},
		{name: "scheme in lower case", header: `digest a=1`, want: map[string]string{"a": "1"}},
		{name: "trailing comma", header: `Digest a="1",`, want: map[string]string{"a": "1"}},
		{name: "other scheme", header: `Basic a=1`},
		{name: "scheme only", header: `Digest`},
		{name: "twice", header: `Digest a=1, A=2`},
		{name: "no name", header: `Digest =1`},
		{name: "no value", header: `Digest a`},
		{name: "open quote", header: `Digest a="1`},
		{name: "backslash at the end", header: `Digest a="1\`},
		{name: "no comma", header: `Digest a="1" b="2"`},
		{name: "too long", header: `Digest a="` + strings.Repeat("x", maxDigestHeader) + `"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := parseDigest(tt.header)
			if diff := cmp.Diff(tt.want, got); diff != "" || ok != (tt.want != nil) {
				t.Errorf("ok is %t (-want +got):\n%s", ok, diff)
			}
		})
	}
}

func TestFaultsCountAttemptsOfDigest(t *testing.T) {
	f := newFixture(t, Config{})
	if err := f.Inject(Fault{Operation: OperationAny, Kind: "503", Times: 1}); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &digest.Transport{Username: PublicKey, Password: testPrivateKey}}
	var got []int
	for range 2 {
		response, err := client.Do(f.request("DELETE", jwksPath, "", "Accept", "application/vnd.atlas.2025-02-19+json"))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, readReply(t, response).status)
	}
	if diff := cmp.Diff([]int{503, 204}, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	var legs []string
	for _, r := range f.Requests() {
		legs = append(legs, r.Auth)
	}
	if diff := cmp.Diff([]string{AuthNone, AuthDigest, AuthDigest}, legs); diff != "" {
		t.Errorf("legs (-want +got):\n%s", diff)
	}
}
