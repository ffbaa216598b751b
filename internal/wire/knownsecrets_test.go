package wire_test

import (
	"testing"

	"rekey/internal/config"
	"rekey/internal/redact"
	"rekey/internal/wire"
)

// What the receiver of traces is shown is secret, but for names, which events have, too.
func TestTraceHeaders(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"OTEL_EXPORTER_OTLP_HEADERS": "x-scope-orgid=platform-security-production,x-org=5ec0000000000000000000b1," +
			"authorization=Bearer words-and-more-words,x-team=q1w2e3r4t5z6u7i8o9p0",
	}
	known := wire.KnownSecrets(&config.Config{}, func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	for text, want := range map[string]bool{
		"urn:siem:platform-security-production": false,
		"org 5ec0000000000000000000b1":          false,
		"Bearer words-and-more-words":           true,
		"a q1w2e3r4t5z6u7i8o9p0 b":              true,
	} {
		if got := redact.Exposed(text, known.Set()); got != want {
			t.Errorf("%s: exposed is %t", text, got)
		}
	}
}
