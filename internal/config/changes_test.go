package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/config"
)

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
