package redact

import (
	"strings"
	"time"
)

// canary is a secret that must turn up nowhere.
const canary = "s3cr3t-CANARY-0f1e2d3c4b5a"

// patience is how long a test waits for something that must come.
const patience = 30 * time.Second

// Ids as Atlas writes them.
const (
	hexA = "0123456789abcdef01234567"
	hexB = "89abcdef0123456789abcdef"
)

// plain is a request in plain JSON.
const plain = `{"kind":"x509.disable","params":{"project_id":"` + hexA + `"}}`

// structured is a JSON object of these members.
func structured(members ...string) string { return "{" + strings.Join(members, ",") + "}" }

// envelope are the attributes of a CloudEvent.
func envelope(id, source string) []string {
	return []string{`"specversion":"1.0"`, `"id":"` + id + `"`, `"source":"` + source + `"`, `"type":"rekey.job.requested.v1"`}
}
