package config_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"rekey/configs"
	"rekey/internal/config"
)

// FuzzParse checks that no text breaks the parser, that what it accepts is within the limits,
// and that its problems are sorted, have lines that exist, and show no secret.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "a: 1\na: 2\n", "nats: &a {url: nats://h}\natlas: *a\n", "log: {level: \"x\n", "---\n---\n", "worker: [[[[[[",
		"atlas: {accounts: [{client_secret: CANARY0}]}\n", "? {a: b}\n: c\n", "a: |\n  b\n# c\nd: >\n  e\n", "%TAG ! x\n--- !a\n",
		"retry: {base: 1h, cap: 1s}\n", "{<<: {a: b}}\n", everything,
	} {
		f.Add([]byte(seed))
	}
	f.Add(configs.Demo)
	f.Fuzz(func(t *testing.T, data []byte) {
		check(t, data)
		if bytes.Contains(data, []byte(canary)) {
			return // It may be anywhere.
		}
		const inline = "\natlas: {accounts: [{client_secret: " + canary + ", private_key_env: mdb_sa_sk_" + canary + "}]}\n"
		if err := check(t, slices.Concat(data, []byte(inline))); err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("the error shows a secret: %s", err)
		}
	})
}

func check(t *testing.T, data []byte) error {
	t.Helper()
	cfg, err := config.Parse("f", data)
	if err == nil {
		if n := cfg.Worker.Concurrency; n < 1 || n > 1024 {
			t.Errorf("accepted a concurrency of %d", n)
		}
		return nil
	}
	var invalid *config.Invalid
	if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
		t.Fatalf("error without problems: %v", err)
	}
	line := 1
	for _, p := range invalid.Problems {
		if p.Line < line || p.Line > bytes.Count(data, []byte("\n"))+1 || p.Column < 1 || p.Message == "" {
			t.Errorf("bad problem after line %d: %+v", line, p)
		}
		line = p.Line
	}
	return err
}
