package atlas_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// TestMadePassword: each attempt has a password of its own, which the repeat of a digest challenge has too, and no text of an
// answer that repeats it has it.
func TestMadePassword(t *testing.T) {
	var bodies []string
	answer := func(req *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, string(body))
		if got := req.Header.Get("Content-Type"); got != "application/vnd.atlas.2023-01-01+json" {
			t.Errorf("Content-Type is %q", got)
		}
		var sent struct{ Password string }
		if err := json.Unmarshal(body, &sent); err != nil {
			return nil, err
		}
		if req.Header.Get("Authorization") == "" {
			return reply(401, "", "WWW-Authenticate", `Digest realm="r", nonce="n", qop="auth"`), nil
		}
		return reply(500, adminProblem(500, sent.Password, "cannot set "+string(body)), "X-Request-Id", sent.Password), nil
	}
	c := newClient(t, config(transportFunc(answer)))
	for range 2 {
		failure := revokeFails(t, c, job(t, kinds.DatabaseUserScramble, "key"))
		seen := fmt.Sprintf("%+v %v", failure, failure)
		for _, body := range bodies {
			if password := body[len(`{"password":"`) : len(body)-len(`"}`)]; len(password) < 20 || strings.Contains(seen, password) {
				t.Errorf("the password has %d bytes, or is in %s", len(password), seen)
			}
		}
	}
	first, second := bodies[0], bodies[len(bodies)-1]
	if first == second || bodies[1] != first {
		t.Errorf("the bodies are %q, want one for each attempt", bodies)
	}
}

// leakedParams are the kinds that end what leaked, by ids of the seeded sandbox.
func leakedParams() map[jobs.Kind]map[string]any {
	return map[jobs.Kind]map[string]any{
		kinds.ServiceAccountSecretDelete: {"org_id": sandbox.OrgID, "client_id": sandbox.LeakedClientID, "secret_id": sandbox.LeakedSecretID},
		kinds.ServiceAccountDelete:       {"org_id": sandbox.OrgID, "client_id": sandbox.SpareClientID},
		kinds.APIKeyDelete:               {"org_id": sandbox.OrgID, "api_key_id": sandbox.LeakedAPIKeyID},
		kinds.DatabaseUserDelete:         {"project_id": sandbox.ProjectID, "username": sandbox.DatabaseExternalUser, "auth_database": "$external"},
		kinds.DatabaseUserScramble:       {"project_id": sandbox.ProjectID, "username": sandbox.DatabaseUser},
		kinds.OrgUserRemove:              {"org_id": sandbox.OrgID, "user_id": sandbox.SpareUserID},
		kinds.ProjectUserRemove:          {"project_id": sandbox.ProjectID, "user_id": sandbox.UserID},
	}
}

// TestLeakedInTheSandbox: each kind ends what it names there, by either sort of account, and a second job finds it gone where
// something was deleted.
func TestLeakedInTheSandbox(t *testing.T) {
	for _, account := range []string{"service", "key"} {
		for kind, params := range leakedParams() {
			t.Run(account+" "+string(kind), func(t *testing.T) {
				box, c := sandboxClient(t, sandbox.Config{})
				j := jobWith(t, kind, account, params)
				if failure := c.Look(t.Context(), j); failure != nil {
					t.Fatalf("Look: %v", failure)
				}
				before := fmt.Sprint(box.State())
				revokeWorks(t, c, j)
				if fmt.Sprint(box.State()) == before {
					t.Error("nothing has changed")
				}
				_, err := c.Revoke(t.Context(), j)
				failure, _ := errors.AsType[*jobs.Failure](err)
				if kind == kinds.DatabaseUserScramble {
					if err != nil {
						t.Errorf("the second time: %v", err)
					}
				} else if failure == nil || failure.Reason != jobs.ReasonNotFound || failure.Unproven {
					t.Errorf("the second time: %v, want not_found", err)
				}
			})
		}
	}
}

// TestSecretEndsItsTokens: the account's other secret goes on working.
func TestSecretEndsItsTokens(t *testing.T) {
	box, c := sandboxClient(t, sandbox.Config{})
	token := box.MintToken(sandbox.LeakedClientID)
	revokeWorks(t, c, jobWith(t, kinds.ServiceAccountSecretDelete, "service", map[string]any{
		"project_id": sandbox.ProjectID, "client_id": sandbox.LeakedClientID, "secret_id": sandbox.LeakedSecretID,
	}))
	if box.TokenLive(token) {
		t.Error("the token of the deleted secret still works")
	}
	i := slices.IndexFunc(box.State().Accounts, func(a sandbox.AccountState) bool { return a.ID == sandbox.LeakedClientID })
	if got := box.State().Accounts[i].SecretIDs; !slices.Equal(got, []string{sandbox.KeptSecretID}) {
		t.Errorf("its secrets are %v", got)
	}
}
