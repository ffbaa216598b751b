package sandbox

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// create asks for a secret of the account that is rotated.
func (f *fixture) create(path, body string) reply {
	f.t.Helper()
	return f.do(f.request(http.MethodPost, path, body, "Authorization", "Bearer "+f.MintToken(ClientID),
		"Accept", "application/vnd.atlas.2024-08-05+json", "Content-Type", "application/vnd.atlas.2024-08-05+json"))
}

// rotated is the account that is rotated, as the API shows it.
func (f *fixture) rotated() accountDocument {
	f.t.Helper()
	var d accountDocument
	if err := json.Unmarshal([]byte(f.bearer(ClientID, http.MethodGet, rotatedPath).body), &d); err != nil {
		f.t.Fatal(err)
	}
	return d
}

// mint asks for a token with a secret, and returns the status.
func (f *fixture) mint(value string) int {
	f.t.Helper()
	return f.oauth("/api/oauth/token", RotatedClientID, value, url.Values{"grant_type": {"client_credentials"}}).status
}

const rotatedPath = "/api/atlas/v2/orgs/" + OrgID + "/serviceAccounts/" + RotatedClientID

// TestSecondSecretCutsTheFirst: a second secret is shown once, and cuts the life of the first one to a week; a third one is refused.
func TestSecondSecretCutsTheFirst(t *testing.T) {
	for name, path := range map[string]string{
		"organization": rotatedPath, "project": "/api/atlas/v2/groups/" + ProjectID + "/serviceAccounts/" + RotatedClientID,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, Config{})
			got := f.create(path+"/secrets", `{"secretExpiresAfterHours":24}`)
			var made secretDocument
			if err := json.Unmarshal([]byte(got.body), &made); err != nil || got.status != 201 || made.Value == "" {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			shown := f.rotated().Secrets
			now := f.clock.Now().UTC().Truncate(time.Second)
			if len(shown) != 2 || shown[1].ID != made.ID || shown[1].Value != "" ||
				!shown[1].ExpiresAt.Equal(now.Add(24*time.Hour)) || !shown[0].ExpiresAt.Equal(now.Add(DefaultSecretCut)) {
				t.Errorf("the secrets are %+v", shown)
			}
			if status := f.mint(made.Value); status != 200 || !f.Works(RotatedClientID, made.Value) {
				t.Errorf("the new secret is answered with %d", status)
			}
			if got := f.create(path+"/secrets", `{"secretExpiresAfterHours":24}`); got.status != 400 {
				t.Errorf("a third secret is answered with %d %s", got.status, got.body)
			}
			if got := f.bearer(ClientID, http.MethodDelete, path+"/secrets/"+RotatedSecretID); got.status != 204 || len(f.rotated().Secrets) != 1 {
				t.Errorf("deleting the first one is answered with %d %s", got.status, got.body)
			}
		})
	}
}

func TestCreateSecretRefuses(t *testing.T) {
	f := newFixture(t, Config{SecretHours: 100})
	for name, body := range map[string]string{
		"nothing": "", "no hours": `{}`, "text": `{"secretExpiresAfterHours":"24"}`, "too few": `{"secretExpiresAfterHours":7}`,
		"more than the organization allows": `{"secretExpiresAfterHours":101}`,
	} {
		if got := f.create(rotatedPath+"/secrets", body); got.status != 400 {
			t.Errorf("%s: got %d %s", name, got.status, got.body)
		}
	}
	if got := f.bearer(ClientID, http.MethodGet, "/api/atlas/v2/orgs/"+OrgID+"/settings"); got.status != 200 ||
		got.body != `{"apiAccessListRequired":false,"maxServiceAccountSecretValidityInHours":100}` {
		t.Errorf("settings: got %d %s", got.status, got.body)
	}
}

// TestLastUsed: a secret says when it last got a token, in whole seconds; a lie has it say so later, or never.
func TestLastUsed(t *testing.T) {
	f := newFixture(t, Config{})
	value, _ := f.Secret(RotatedSecretID)
	if at := f.rotated().Secrets[0].LastUsedAt; !at.IsZero() {
		t.Errorf("before its use it says %s", at)
	}
	first := f.clock.Now().UTC().Truncate(time.Second)
	f.mint(value)
	if at := f.rotated().Secrets[0].LastUsedAt; !at.Equal(first) {
		t.Errorf("after its use it says %s, want %s", at, first)
	}
	if err := f.Inject(Fault{Operation: OperationToken, Kind: FaultUnnoticed, Times: 1}, Fault{Operation: OperationToken, Kind: FaultUnnoticed, Delay: time.Hour, Times: 1}); err != nil {
		t.Fatal(err)
	}
	f.clock.add(time.Minute)
	f.mint(value) // Never noticed.
	f.clock.add(time.Minute)
	third := f.clock.Now().UTC().Truncate(time.Second)
	f.mint(value)
	if at := f.rotated().Secrets[0].LastUsedAt; !at.Equal(first) {
		t.Errorf("while the lies hold it says %s, want %s", at, first)
	}
	f.clock.add(2 * time.Hour)
	if at := f.rotated().Secrets[0].LastUsedAt; !at.Equal(third) {
		t.Errorf("later it says %s, want %s", at, third)
	}
}

// TestLostAnswerToCreate: the secret is there although its value was never seen.
func TestLostAnswerToCreate(t *testing.T) {
	f := newFixture(t, Config{})
	if err := f.Inject(Fault{Operation: OperationServiceAccountSecretCreate, Kind: FaultResetAfter, Times: 1}); err != nil {
		t.Fatal(err)
	}
	_, err := http.DefaultTransport.RoundTrip(f.request(http.MethodPost, rotatedPath+"/secrets", `{"secretExpiresAfterHours":24}`,
		"Authorization", "Bearer "+f.MintToken(ClientID), "Accept", "application/vnd.atlas.2024-08-05+json"))
	if err == nil || len(f.rotated().Secrets) != 2 {
		t.Errorf("error %v, secrets %+v", err, f.rotated().Secrets)
	}
}
