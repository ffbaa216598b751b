package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/config"
)

func TestIsReloaded(t *testing.T) {
	for key, want := range map[string]bool{
		"policies": true, "policies.list": true, "intake.unmatched": true, "intake.max_event_age": true, "intake.max_clock_skew": true,
		"intake.limits.max_jobs_per_event": true, "schedules": true, "atlas.accounts": true, "retry.base": true, "receivers": true, "log.level": true, "expiry.watch": true, "expiry.every": true,
		"intake": false, "intake.plaintext": false, "intake.signing_seed_file": false, "atlas.timeout": false, "log.format": false,
		"nats.url": false, "vault.token_env": false, "worker.dry_run": false, "": false, "unknown.key": false,
	} {
		if got := config.IsReloaded(key); got != want {
			t.Errorf("IsReloaded(%q) = %t, want %t", key, got, want)
		}
	}
}

func TestChanges(t *testing.T) {
	tests := []struct {
		name   string
		before string
		after  string
		want   []string
	}{
		{"none", everything, everything, nil},
		{"of order", "log: {level: debug}\nworker: {concurrency: 4}\n", "worker: {concurrency: 4}\nlog: {level: debug}\n", nil},
		{"a default written out", "", "worker: {concurrency: 16}\n", nil},
		{"plain keys", "", "log: {level: debug}\nnats: {embedded: {listen: ''}}\n", []string{"nats.embedded.listen", "log.level"}},
		{
			"where a secret is", "nats: {embedded: {token_file: a}}\n", "nats: {embedded: {token_env: A}}\n",
			[]string{"nats.embedded.token_file", "nats.embedded.token_env"},
		},
		{
			"lists as a whole", "", "atlas: {accounts: [{name: a, public_key: k, private_key_env: K}]}\n",
			[]string{"atlas.accounts"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, problems := parse(t, tt.before)
			if problems != "" {
				t.Fatal(problems)
			}
			after, problems := parse(t, tt.after)
			if problems != "" {
				t.Fatal(problems)
			}
			if diff := cmp.Diff(tt.want, config.Changes(before, after)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}
