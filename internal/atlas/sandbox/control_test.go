package sandbox

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestControlFaults(t *testing.T) {
	tests := []struct {
		name, body string
		want       []Fault
		wantError  string
	}{
		{
			name: "JSON", body: ` {"operation":"jwks.revoke","kind":"429","retry_after":"2","delay":"1s","times":3,"error_code":"X"}`,
			want: []Fault{{Operation: "jwks.revoke", Kind: "429", RetryAfter: "2", Delay: time.Second, Times: 3, ErrorCode: "X"}},
		},
		{
			name: "lines", body: "token:503:times=1\n\nany:html:status=502\r\n",
			want: []Fault{{Operation: "token", Kind: "503", Times: 1}, {Operation: "any", Kind: "html", Status: 502}},
		},
		{name: "empty", body: " \n", wantError: "no fault"},
		{name: "unknown field", body: `{"operation":"any","kind":"429","after":1}`, wantError: "after"},
		{name: "wrong type", body: `{"operation":"any","kind":429}`, wantError: "kind"},
		{name: "two objects", body: `{"operation":"any","kind":"429"}{}`, wantError: "more after it"},
		{name: "bad delay", body: `{"operation":"any","kind":"slow","delay":"2"}`, wantError: "delay"},
		{name: "bad kind", body: `{"operation":"any","kind":"oops"}`, wantError: "kind"},
		{name: "one bad line", body: "any:503\nany:oops", wantError: "kind"},
		{name: "too large", body: strings.Repeat("any:503\n", maxBody/8+1), wantError: "too large"},
		{name: "too many", body: strings.Repeat("any:503\n", maxFaults+1), wantError: "1000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			got := f.do(f.request("POST", "/sandbox/faults", tt.body, "Content-Type", "application/x-www-form-urlencoded"))
			var document struct {
				Error  string
				Faults []faultJSON
			}
			if err := json.Unmarshal([]byte(got.body), &document); err != nil {
				t.Fatalf("body %q: %v", got.body, err)
			}
			if tt.wantError != "" {
				if got.status != 400 || !strings.Contains(document.Error, tt.wantError) || len(f.State().Faults) != 0 {
					t.Errorf("got %d %s, and %d faults", got.status, got.body, len(f.State().Faults))
				}
				return
			}
			if diff := cmp.Diff(tt.want, f.State().Faults); diff != "" || got.status != 201 || len(document.Faults) != len(tt.want) {
				t.Errorf("got %d %s, faults (-want +got):\n%s", got.status, got.body, diff)
			}
			if cleared := f.do(f.request("DELETE", "/sandbox/faults", "")); cleared.status != 204 || len(f.State().Faults) != 0 {
				t.Errorf("clearing: %d", cleared.status)
			}
			if len(f.Requests()) != 0 {
				t.Error("control requests are in the journal")
			}
		})
	}
}

func TestControlRequests(t *testing.T) {
	f := newFixture(t, Config{})
	f.bearer(ClientID, "DELETE", jwksPath)
	got := f.do(f.request("GET", "/sandbox/requests", ""))
	want := `{"requests":[{"id":"sandbox-00000001","at":"2026-05-04T03:02:01.0000005Z","operation":"jwks.revoke","method":"DELETE","path":"` + jwksPath +
		`","status":204,"auth":"bearer","account":"` + ClientID + `"}]}`
	if diff := cmp.Diff(compact(t, want), compact(t, got.body)); diff != "" || got.status != 200 {
		t.Errorf("status %d (-want +got):\n%s", got.status, diff)
	}
}

func TestControlState(t *testing.T) {
	f := newFixture(t, Config{})
	if err := f.Inject(Fault{Operation: OperationAny, Kind: FaultSlow, Delay: 1500 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	got, _ := compact(t, f.do(f.request("GET", "/sandbox/state", "")).body).(map[string]any)
	accounts, _ := got["accounts"].([]any)
	federations, _ := got["federations"].([]any)
	if len(accounts) != 9 || len(federations) != 2 {
		t.Fatalf("state is %v", got)
	}
	want := map[string]any{
		"id": OtherFederationID,
		"identity_providers": []any{map[string]any{
			"id": OtherIdentityProviderID, "name": "partner", "organizations": []any{}, "jwks_revocations": 0.0,
		}},
		"role_mappings": []any{map[string]any{"id": OtherRoleMappingID, "org_id": OtherOrgID, "external_group": "partners"}},
	}
	if diff := cmp.Diff(want, federations[1]); diff != "" {
		t.Errorf("federation (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{map[string]any{"operation": "any", "kind": "slow", "delay": "1.5s"}}, got["faults"]); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestControlUnknown(t *testing.T) {
	f := newFixture(t, Config{})
	for _, path := range []string{"/sandbox/", "/sandbox/requests/1"} {
		if got := f.do(f.request("GET", path, "")); got.status != 404 || !strings.Contains(got.body, "/sandbox/state") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

// compact decodes JSON for comparing.
func compact(t *testing.T, body string) any {
	t.Helper()
	var document any
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
	return document
}

func TestNoSecretInJournalOrState(t *testing.T) {
	f := newFixture(t, Config{})
	token := f.MintToken(ClientID)
	f.do(f.request("DELETE", jwksPath, "", "Authorization", "Bearer "+token))
	f.oauth("/api/oauth/revoke?token="+token, ClientID, testSecret, url.Values{"token": {token}})
	f.oauth("/api/oauth/token", testSecret, testSecret, credentialsForm())
	for _, path := range []string{"/sandbox/requests", "/sandbox/state"} {
		body := []byte(f.do(f.request("GET", path, "")).body)
		for name, secret := range map[string]string{"token": token, "client secret": testSecret, "private key": testPrivateKey} {
			if bytes.Contains(body, []byte(secret)) {
				t.Errorf("%s tells the %s", path, name)
			}
		}
	}
}
