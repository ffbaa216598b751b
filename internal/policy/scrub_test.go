package policy

import (
	"strings"
	"testing"

	"rekey/internal/jobs"
)

// The error about a missing key names it, also one that was made of a secret or is in a header.
func TestMissingKeysAreNotShown(t *testing.T) {
	t.Parallel()
	event := jobs.Event{Envelope: jobs.Envelope{
		Data: map[string]any{"token": "S3CR3T-CANARY"}, Headers: map[string]string{"x-token": "s3cr3t-canary"},
	}}
	for when, want := range map[string]string{
		`{"a": true}[event.data.token.lowerAscii()]`:      "no such key: …",
		`{"a": true}[event.headers["x-token"]]`:           "no such key: …",
		`{"a": true}[event.data.token.substring(0, 5)]`:   "no such key: …",
		`event.data.detector.name == "mongodb"`:           "no such key: detector",
		`event.data["token"] == "" || event.data.x == ""`: "no such key: x",
	} {
		engine, err := New("", nil, []Rule{{Name: "a", When: Expr(when), Jobs: disable()}})
		if err != nil {
			t.Fatal(err)
		}
		held := decideAll(t, engine, event)[0].Rejection
		if held == nil || !strings.HasSuffix(held.Detail, want) || strings.Contains(strings.ToLower(held.Detail), "s3cr3") {
			t.Errorf("%s is held as %+v, want %q", when, held, want)
		}
	}
}
