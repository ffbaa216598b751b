package notify

import (
	"slices"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// Type is what a receiver understands. The set is closed.
type Type string

// The types of receivers.
const (
	TypeSlack   Type = "slack"   // Slack's incoming webhooks, and what is compatible with them.
	TypeWebhook Type = "webhook" // Any HTTP server; requests are as the Standard Webhooks have them.
)

// Types lists all types.
func Types() []Type { return []Type{TypeSlack, TypeWebhook} }

// Receiver is a chat or webhook that receives results.
type Receiver struct {
	// Name is unique: lower-case letters, digits, - and _.
	Name string
	Type Type
	// URL is where the address is kept, which may hold a token. It is read anew for every request.
	URL secret.Ref
	// SigningSecret is where the secrets of the signatures are kept. Zero: requests are not signed.
	SigningSecret secret.Ref
	Filter        Filter
	// Template makes the text for a chat, or the whole body for a webhook. Empty: as documented.
	Template string
	// Timeout bounds one request, from the connection to the end of the answer.
	Timeout time.Duration
	// Retry says when a request that failed is made again, and when a notification is given up.
	Retry jobs.RetryPolicy
	// MaxRetryAfter is the longest Retry-After that is believed.
	MaxRetryAfter time.Duration
}

// parallel is how many notifications are under way to the receiver at once. A chat gets them in
// their order while none fails, and allows one a second anyway.
func (t Receiver) parallel() int {
	const webhooks = 4
	if t.Type == TypeSlack {
		return 1
	}
	return webhooks
}

// Filter says which results and verdicts a receiver gets. Of each list that is not empty, the result must
// be in one; of verdicts, those that are listed.
type Filter struct {
	Outcomes []jobs.Outcome
	Verdicts []jobs.Verdict
	Lanes    []jobs.Lane
	Kinds    []jobs.Kind
	Accounts []string
}

// Matches reports whether the filter lets a result through, or a verdict.
func (f Filter) Matches(r *jobs.PublicRecord, verdict bool) bool {
	wanted := among(f.Outcomes, r.Outcome)
	if verdict {
		wanted = slices.Contains(f.Verdicts, r.Verdict())
	}
	return wanted && among(f.Lanes, r.Lane) && among(f.Kinds, r.Kind) && among(f.Accounts, r.Account)
}

func among[T comparable](list []T, value T) bool {
	return len(list) == 0 || slices.Contains(list, value)
}
