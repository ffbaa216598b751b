package intake_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/wire"
)

// examples is the folder of ready policies.
const examples = "../../../configs/policies"

// loadExamples is a configuration with all ready policies.
func loadExamples(t *testing.T) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "worker.yaml")
	text := "atlas: {accounts: [{name: security, client_id: mdb_sa_id_0123456789abcdef01234567, client_secret_env: S}]}\npolicies: {dir: " + examples + "}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestReadyPolicies: the sample of each vendor matches its policy and no other, and makes
// the jobs that its file promises.
func TestReadyPolicies(t *testing.T) {
	t.Parallel()
	const (
		idp  = "federation/0123456789abcdef01234567/idp/89abcdef0123456789abcdef"
		d1   = "project/5ec0000000000000000000d1"
		d2   = "project/5ec0000000000000000000d2"
		leak = "sha256:"

		secretOf = "service_account_secret.delete org/5ec0000000000000000000c1/secret/sha256:ff11d53560f2"
		userOf   = "database_user.scramble project/5ec0000000000000000000d1/database_user/admin/app"
	)
	tests := []struct {
		event, class, policy string
		want                 []string // Kind, target, lane, and "dry".
		wantReason           string
	}{
		{event: "gitguardian", class: "incident", policy: "gitguardian-leaked-token", want: []string{"token.revoke " + leak + " urgent"}, wantReason: "GitGuardian incident 4711"},
		{event: "github-secret-scanning", class: "incident", policy: "github-secret-scanning", want: []string{"token.revoke " + leak + " urgent"}, wantReason: "GitHub secret scanning alert 42 in octo-org/octo-repo"},
		{event: "splunk", class: "incident", policy: "splunk-forged-logins", want: []string{"jwks.revoke " + idp + " urgent dry"}, wantReason: "Splunk alert scheduler_admin_search_W2_at_14232356_132"},
		{event: "elastic", class: "incident", policy: "elastic-stolen-certificates", want: []string{"x509.disable " + d1 + " urgent dry"}, wantReason: "Elastic: Atlas client certificate read by another process on db-client-1"},
		{event: "sentinel", class: "incident", policy: "sentinel-rogue-role-mapping", want: []string{"role_mapping.delete federation/0123456789abcdef01234567/org/5ec0000000000000000000c1/role_mapping/89abcdef0123456789abcdef urgent dry"}, wantReason: "Sentinel incident 3177"},
		{event: "falco", class: "falco", policy: "falco-certificate-read", want: []string{"x509.disable " + d1 + " urgent dry"}, wantReason: "Falco: Atlas client key read by an unexpected process in api-6d4b"},
		{event: "ocsf", class: "incident", policy: "ocsf-detection-finding", want: []string{"x509.disable " + d1 + " urgent dry", "x509.disable " + d2 + " urgent dry"}, wantReason: "Copied client certificates"},
		{event: "caep-credential-change", class: "incident", policy: "caep-credential-change", want: []string{"jwks.revoke " + idp + " urgent dry"}, wantReason: "CAEP credential-change 07efd930f0977e4fcc1149a733ce7f78"},
		{event: "atlas-alert", class: "rotation", policy: "atlas-secret-expiring", want: []string{"token.revoke file:/run/rekey/tokens/5ec0000000000000000000c1 bulk"}, wantReason: "Atlas alert 5ec0000000000000000000b7: service account secrets are about to expire"},
		{event: "gitlab", class: "incident", policy: "gitlab-leaked-credential", want: []string{secretOf + " urgent"}, wantReason: "GitLab secret detection: https://gitlab.example.com/group/app/-/blob/1f2e3d4c/config.py#L21"},
		{event: "trufflehog", class: "scanner", policy: "trufflehog-leaked-credential", want: []string{userOf + " urgent"}, wantReason: "TruffleHog: MongoDB in trufflehog - git"},
		{event: "gitleaks", class: "scanner", policy: "gitleaks-leaked-credential", want: []string{secretOf + " urgent"}, wantReason: "gitleaks: mongodb-atlas-service-account-token in config.py"},
		{event: "generic", class: "siem", policy: "generic-leaked-tokens", want: []string{"token.revoke " + leak + " urgent", "token.revoke " + leak + " urgent"}, wantReason: "case case-1234"},
	}
	cfg := loadExamples(t)
	if len(cfg.Policies.List) != len(tests) {
		t.Errorf("there are %d policies and %d tests", len(cfg.Policies.List), len(tests))
	}
	evaluator, err := wire.NewEvaluator(cfg)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC)
	for _, tt := range tests {
		t.Run(tt.event, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(examples, "events", tt.event+".json"))
			if err != nil {
				t.Fatal(err)
			}
			got := evaluator.Sample(t.Context(), wire.Sample{Name: tt.event, Class: tt.class, Data: data, At: at})
			if got.Result != jobs.EventAccepted || len(got.Problems) > 0 {
				t.Fatalf("%s: %v", got.Result, got.Problems)
			}
			for _, p := range got.Policies {
				if p.Matches != (p.Policy == tt.policy) {
					t.Errorf("policy %s matches: %v (%s)", p.Policy, p.Matches, p.Why)
				}
			}
			var have []string
			for _, job := range got.Jobs {
				have = append(have, flatJob(job, leak))
				if job.Account != apptest.Security || job.Reason != tt.wantReason || job.Policy != tt.policy {
					t.Errorf("the job is %+v", job)
				}
			}
			if diff := cmp.Diff(tt.want, have); diff != "" {
				t.Errorf("jobs (-want +got):\n%s", diff)
			}
		})
	}
}

// flatJob is a job as one line. A fingerprint is cut to its beginning.
func flatJob(job wire.EvaluatedJob, fingerprint string) string {
	target := job.Target
	if strings.HasPrefix(target, fingerprint) {
		target = fingerprint
	}
	line := string(job.Kind) + " " + target + " " + string(job.Lane)
	if job.DryRun {
		line += " dry"
	}
	return line
}
