package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/policy"
	"rekey/internal/schedule"
	"rekey/internal/secret"
)

// everything sets every key to something else than its default, as far as keys go together.
const everything = `
nats:
  url: nats://a:4222, tls://b:4222
  namespace: blue
  replicas: 3
  user: rekey
  password_env: NATS_PASSWORD
  tls: {ca_file: ca.pem, cert_file: c.pem, key_file: k.pem}
  embedded:
    listen: ""
    store_dir: /var/lib/rekey
    token_file: /run/token
    tls: {cert_file: sc.pem, key_file: sk.pem, client_ca_file: cca.pem}
    max_payload_mib: 16
atlas:
  base_url: http://127.0.0.1:8474
  timeout: 1m30s
  x509_api: v1.0
  ca_file: extra.pem
  accounts:
    - {name: security, client_id: mdb_sa_id_0123456789abcdefABCDEF01, client_secret_file: /run/security}
    - {name: legacy, public_key: abcdefgh, private_key_env: LEGACY}
  rate_limits:
    read: never
    urgent_share: 0
    oauth_token: {capacity: 1, refill: 2, every: 3m}
    oauth_revoke: {capacity: 4, refill: 5, every: 6s, scope: address}
    federation_account: {scope: organization}
    federation_org: {scope: account}
    x509_project: {capacity: 20, refill: 1, every: 20ms, scope: project}
seal: {keys: [{seed_file: /run/seal}, {seed_env: OLD}]}
vault: {address: "https://vault:8200", token_env: VT, namespace: ns, mount: kv, ca_file: vca.pem, timeout: 3s, paths: [a/b]}
intake:
  plaintext: refuse
  token_files: [/run/leaked]
  signatures: required
  signers: [{source: "urn:*", public_keys: [UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4]}]
  replay_window: 1m
  signing_seed_env: SIGN
  unmatched: dead_letter
  max_event_age: 24h
  max_clock_skew: 1m
  limits:
    max_jobs_per_event: 5
    max_jobs_per_hour: 50
    allow: {accounts: [security], kinds: [jwks.revoke, token.revoke]}
    deny: {organizations: [0123456789abcdef01234567], projects: ["012345678901234567890123"], federations: [0123456789abcdef01234567]}
policies:
  - name: leak
    on: {subjects: [blue.v1.event.>], types: [com.example.*], sources: ["*"]}
    when: |
      event.data.severity == "high" &&
        has(event.data.secret)
    jobs:
      - kind: token.revoke
        for_each: event.data.list
        params: {token: item.secret}
        account: '"security"'
        lane: '"bulk"'
        reason: event.id
        requested_by: event.source
        expires_at: now + duration("1h")
    dry_run: true
    limits: {max_jobs_per_hour: 7}
worker: {concurrency: 4, drain_timeout: 0, dry_run: true}
retry: {base: 10ms, cap: 1s, max_attempts: 3, max_age: 1h, retry_after_cap: 10m}
proof: {within: 1m, probe: false, events: false, watch: 48h, looks: [10m, 2h], on_revert: repeat, max_repeats: 1, on_still_alive: retry}
schedules:
  - name: weekly
    cron: "0 3 * * 0"
    time_zone: Europe/Berlin
    jitter: 5m
    missed: all
    max_late: 2h
    overlap: queue
    not_during:
      - {from: 2026-12-18, until: "2027-01-04 06:00", ticks: move, reason: freeze}
      - {cron: "0 8 * * 1-5", for: 10h}
    job:
      kind: jwks.revoke
      account: security
      params: {federation_id: 0123456789abcdef01234567, identity_provider_id: "012345678901234567890123"}
      lane: bulk
      reason: because
      requested_by: me
  - {name: six-hourly, cron: "@every 6h", job: {kind: token.revoke, account: legacy, params: {token_file: /run/t}}}
http: {listen: ""}
log: {level: debug, format: console}
`

func wantEverything() *config.Config {
	const id = "0123456789abcdef01234567"
	return &config.Config{
		NATS: config.NATS{
			URL: "nats://a:4222, tls://b:4222", Namespace: "blue", Replicas: 3,
			User: "rekey", Password: secret.Ref{Env: "NATS_PASSWORD"},
			TLS: config.ClientTLS{CAFile: "ca.pem", CertFile: "c.pem", KeyFile: "k.pem"},
			Embedded: config.Embedded{
				StoreDir: "/var/lib/rekey", Token: secret.Ref{File: "/run/token"}, MaxPayloadMiB: 16,
				TLS: config.ServerTLS{CertFile: "sc.pem", KeyFile: "sk.pem", ClientCAFile: "cca.pem"},
			},
		},
		Atlas: config.Atlas{
			BaseURL: "http://127.0.0.1:8474", Timeout: 90 * time.Second, X509API: config.X509APIv10, CAFile: "extra.pem",
			Accounts: []config.Account{
				{Name: "security", ClientID: "mdb_sa_id_0123456789abcdefABCDEF01", ClientSecret: secret.Ref{File: "/run/security"}},
				{Name: "legacy", PublicKey: "abcdefgh", PrivateKey: secret.Ref{Env: "LEGACY"}},
			},
			RateLimits: config.RateLimits{
				Read: config.ReadNever,
				Sets: map[string]config.RateLimit{
					"oauth_token":        {Capacity: 1, Refill: 2, Every: 3 * time.Minute},
					"oauth_revoke":       {Capacity: 4, Refill: 5, Every: 6 * time.Second, Scope: "address"},
					"federation_account": {Scope: "organization"},
					"federation_org":     {Scope: "account"},
					"x509_project":       {Capacity: 20, Refill: 1, Every: 20 * time.Millisecond, Scope: "project"},
				},
			},
		},
		Seal: config.Seal{Keys: []config.SealKey{{Seed: secret.Ref{File: "/run/seal"}}, {Seed: secret.Ref{Env: "OLD"}}}},
		Vault: config.Vault{
			Address: "https://vault:8200", Token: secret.Ref{Env: "VT"}, Namespace: "ns", Mount: "kv", CAFile: "vca.pem",
			Timeout: 3 * time.Second, Paths: []string{"a/b"},
		},
		Intake: config.Intake{
			TokenFiles: []string{"/run/leaked"}, Signatures: config.SignaturesRequired, ReplayWindow: time.Minute,
			Signers: []config.EventSigner{
				{Source: "urn:*", PublicKeys: []string{"UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"}},
			},
			SigningSeed: secret.Ref{Env: "SIGN"},
			Plaintext:   jobs.PlaintextRefuse, Unmatched: config.UnmatchedDeadLetter, MaxEventAge: 24 * time.Hour, MaxClockSkew: time.Minute,
			Limits: jobs.Limits{
				MaxJobsPerEvent: 5, MaxJobsPerHour: 50,
				Allow: jobs.Bounds{Accounts: []string{"security"}, Kinds: []string{"jwks.revoke", "token.revoke"}},
				Deny: jobs.Bounds{
					Organizations: []string{id}, Projects: []string{"012345678901234567890123"}, Federations: []string{id},
				},
			},
		},
		Policies: config.Policies{List: []policy.Rule{{
			Name: "leak", On: policy.On{Subjects: []string{"blue.v1.event.>"}, Types: []string{"com.example.*"}, Sources: []string{"*"}},
			When: "event.data.severity == \"high\" &&\n  has(event.data.secret)\n",
			Jobs: []policy.Job{{
				Kind: "token.revoke", ForEach: "event.data.list", Params: map[string]policy.Expr{"token": "item.secret"},
				Account: `"security"`, Lane: `"bulk"`, Reason: "event.id", RequestedBy: "event.source",
				ExpiresAt: `now + duration("1h")`,
			}},
			DryRun: true, Limits: jobs.Limits{MaxJobsPerHour: 7},
		}}},
		Worker: config.Worker{Concurrency: 4, DryRun: true},
		Retry: config.Retry{
			Base: 10 * time.Millisecond, Cap: time.Second, MaxAttempts: 3, MaxAge: time.Hour, RetryAfterCap: 10 * time.Minute,
		},
		Expiry: config.Expiry{Every: 6 * time.Hour},
		Proof: config.Proof{
			Within: time.Minute, Watch: 48 * time.Hour, Looks: []time.Duration{10 * time.Minute, 2 * time.Hour},
			OnRevert: config.OnRevertRepeat, MaxRepeats: 1, OnStillAlive: config.OnStillAliveRetry,
		},
		Schedules: []config.Schedule{
			{
				Name: "weekly", Cron: "0 3 * * 0", TimeZone: "Europe/Berlin", Jitter: 5 * time.Minute,
				Missed: schedule.MissedAll, MaxLate: 2 * time.Hour, Overlap: schedule.OverlapQueue,
				NotDuring: []config.Window{
					{From: "2026-12-18", Until: "2027-01-04 06:00", Ticks: config.TicksMove, Reason: "freeze"},
					{Cron: "0 8 * * 1-5", For: 10 * time.Hour, Ticks: config.TicksSkip},
				},
				Job: config.Job{
					Kind: "jwks.revoke", Account: "security", Lane: "bulk", Reason: "because", RequestedBy: "me",
					Params: map[string]string{"federation_id": id, "identity_provider_id": "012345678901234567890123"},
				},
			},
			{
				Name: "six-hourly", Cron: "@every 6h", TimeZone: "UTC", Missed: schedule.MissedOnce, MaxLate: 24 * time.Hour, Overlap: schedule.OverlapAllow,
				Job: config.Job{Kind: "token.revoke", Account: "legacy", Params: map[string]string{"token_file": "/run/t"}},
			},
		},
		HTTP: config.HTTP{Console: true},
		API:  config.API{Console: config.Console{Idle: 30 * time.Minute, Session: 12 * time.Hour}},
		Log:  config.Log{Level: "debug", Format: "console"},
	}
}

func TestParseEverything(t *testing.T) {
	cfg, problems := parse(t, everything)
	if problems != "" {
		t.Fatal(problems)
	}
	if diff := cmp.Diff(wantEverything(), cfg); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
