package jobs_test

import (
	"strings"
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// row is a job, and what becomes known of its target.
type row struct {
	kind   jobs.Kind
	params map[string]any
	target string // A part of the target.
	want   jobs.Verdict
	says   string // A part of the evidence.
	// after is how long after the start of the attempt the verdict comes at the earliest, as the sandbox lags behind its answer.
	after time.Duration
}

func params(pairs ...string) map[string]any {
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// check runs a job for each row on a worker whose API has these faults, and compares the verdicts.
// Credentials that were tried are nowhere afterwards.
func check(t *testing.T, within time.Duration, faults []string, rows func(box *sandbox.Sandbox) []row) {
	t.Helper()
	box, url := apptest.ServeSandbox(t, sandbox.Config{RestartAfter: 300 * time.Millisecond, RestartFor: 700 * time.Millisecond})
	for _, text := range faults {
		fault, err := sandbox.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := box.Inject(fault); err != nil {
			t.Fatal(err)
		}
	}
	rig := apptest.SandboxRig(t, box, url)
	rig.Cfg.Proof.Within = within
	list := rows(box)
	w := rig.Start(t)
	leaked := apptest.Canaries{}
	for _, r := range list {
		for _, name := range []string{"token", "secret"} {
			if value, ok := r.params[name].(string); ok {
				leaked[name] = value
			}
		}
		w.Publish("incident", apptest.NewRequest(r.kind, r.params).String())
	}
	for _, r := range list {
		record := w.RecordOf(r.target, func(have jobs.PublicRecord) bool {
			return have.Kind == r.kind && have.Proof != nil && have.Verdict() != jobs.VerdictPending
		})
		if record.Verdict() != r.want {
			t.Errorf("%s is %s, want %s: %s", r.kind, record.Verdict(), r.want, apptest.Encoded(record.Proof))
		}
		if text := apptest.Encoded(record.Proof); !strings.Contains(text, r.says) {
			t.Errorf("%s: the evidence does not say %q: %s", r.kind, r.says, text)
		}
		if took := record.Proof.CheckedAt.Sub(record.Attempts[0].StartedAt); took < r.after {
			t.Errorf("%s: the verdict took %s, while the truth took %s", r.kind, took, r.after)
		}
	}
	leaked.SearchEverything(t, w)
	for _, a := range box.State().Accounts {
		if a.ID == sandbox.LeakedClientID && a.LiveTokens > 0 {
			t.Errorf("a check left %d tokens of %s", a.LiveTokens, a.ID)
		}
	}
}

// TestVerdictsOfAnHonestAPI: each kind is proven as far as it can be.
func TestVerdictsOfAnHonestAPI(t *testing.T) {
	t.Parallel()
	check(t, 20*time.Second, nil, func(box *sandbox.Sandbox) []row {
		token := box.MintToken(sandbox.ClientID)
		leaked, _ := box.Secret(sandbox.LeakedSecretID)
		federation, org, project := "federation_id", "org_id", "project_id"
		return []row{
			{kind: kinds.TokenRevoke, params: params("token", token), target: apptest.Fingerprint(token), want: jobs.VerdictVerified, says: "401: the token is refused before"},
			{kind: kinds.JWKSRevoke, params: params(federation, sandbox.FederationID, "identity_provider_id", sandbox.LockedIdentityProviderID), target: sandbox.LockedIdentityProviderID, want: jobs.VerdictRecorded, says: "IDENTITY_PROVIDER_JWKS_REVOKED"},
			{kind: kinds.IDPDelete, params: params(federation, sandbox.FederationID, "identity_provider_id", sandbox.IdentityProviderID), target: sandbox.IdentityProviderID, want: jobs.VerdictVerified, says: "identity_providers"},
			{kind: kinds.RoleMappingDelete, params: params(federation, sandbox.FederationID, org, sandbox.OrgID, "role_mapping_id", sandbox.RoleMappingID), target: sandbox.RoleMappingID, want: jobs.VerdictVerified, says: "404: the role mapping is gone"},
			{kind: kinds.X509Disable, params: params(project, sandbox.SpareProjectID), target: "project/" + sandbox.SpareProjectID, want: jobs.VerdictVerified, says: "restarted: 1 of 1 clusters", after: time.Second},
			{kind: kinds.ServiceAccountSecretDelete, params: params(org, sandbox.OrgID, "secret", leaked), target: apptest.Fingerprint(leaked), want: jobs.VerdictVerified, says: "401 invalid_client"},
			{kind: kinds.ServiceAccountDelete, params: params(org, sandbox.OrgID, "client_id", sandbox.SpareClientID), target: sandbox.SpareClientID, want: jobs.VerdictVerified, says: "404: the service account is gone"},
			{kind: kinds.APIKeyDelete, params: params(org, sandbox.OrgID, "public_key", sandbox.LeakedPublicKey), target: sandbox.LeakedPublicKey, want: jobs.VerdictVerified, says: "404: the API key is gone"},
			{kind: kinds.DatabaseUserDelete, params: params(project, sandbox.ProjectID, "username", sandbox.DatabaseUser), target: sandbox.DatabaseUser, want: jobs.VerdictVerified, says: "applied by 1 of 1 clusters"},
			{kind: kinds.DatabaseUserScramble, params: params(project, sandbox.ProjectID, "username", "batch"), target: "admin/batch", want: jobs.VerdictRecorded, says: "no read shows the password"},
			{kind: kinds.OrgUserRemove, params: params(org, sandbox.OrgID, "user_id", sandbox.UserID), target: sandbox.UserID, want: jobs.VerdictVerified, says: "404: the person is gone"},
			{kind: kinds.ProjectUserRemove, params: params(project, sandbox.ProjectID, "user_id", sandbox.SpareUserID), target: sandbox.SpareUserID, want: jobs.VerdictVerified, says: "404: the person is gone"},
		}
	})
}

// TestVerdictsOfAnAPIThatLies: a success that did nothing is still alive, one that takes its time is not dead before, and what no
// read and no event shows is accepted.
func TestVerdictsOfAnAPIThatLies(t *testing.T) {
	t.Parallel()
	faults := []string{
		"jwks.revoke:unlogged", "role_mapping.delete:pretend", "idp.delete:lag:delay=1s", "x509.disable:late_restart:delay=2s", "token.revoke:pretend:account=" + sandbox.ClientID,
		"service_account_secret.delete:pretend", "database_user.scramble:unlogged",
	}
	check(t, 6*time.Second, faults, func(box *sandbox.Sandbox) []row {
		token := box.MintToken(sandbox.ClientID)
		leaked, _ := box.Secret(sandbox.LeakedSecretID)
		federation, org, project := "federation_id", "org_id", "project_id"
		return []row{
			{kind: kinds.TokenRevoke, params: params("token", token), target: apptest.Fingerprint(token), want: jobs.VerdictStillAlive, says: "200: the token works", after: 5 * time.Second},
			{kind: kinds.JWKSRevoke, params: params(federation, sandbox.FederationID, "identity_provider_id", sandbox.LockedIdentityProviderID), target: sandbox.LockedIdentityProviderID, want: jobs.VerdictAccepted, says: "no event of it", after: 5 * time.Second},
			{kind: kinds.IDPDelete, params: params(federation, sandbox.FederationID, "identity_provider_id", sandbox.IdentityProviderID), target: sandbox.IdentityProviderID, want: jobs.VerdictVerified, says: "404: the identity provider is gone", after: 900 * time.Millisecond},
			{kind: kinds.RoleMappingDelete, params: params(federation, sandbox.FederationID, org, sandbox.OrgID, "role_mapping_id", sandbox.RoleMappingID), target: sandbox.RoleMappingID, want: jobs.VerdictStillAlive, says: "200: the role mapping is there", after: 5 * time.Second},
			{kind: kinds.X509Disable, params: params(project, sandbox.SpareProjectID), target: "project/" + sandbox.SpareProjectID, want: jobs.VerdictVerified, says: "restarted: 1 of 1 clusters", after: 3 * time.Second},
			{kind: kinds.ServiceAccountSecretDelete, params: params(org, sandbox.OrgID, "secret", leaked), target: apptest.Fingerprint(leaked), want: jobs.VerdictStillAlive, says: "200: the secret gets a token", after: 5 * time.Second},
			{kind: kinds.DatabaseUserScramble, params: params(project, sandbox.ProjectID, "username", "batch"), target: "admin/batch", want: jobs.VerdictAccepted, says: "no read shows the password", after: 5 * time.Second},
		}
	})
}
