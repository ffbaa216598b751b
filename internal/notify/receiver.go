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
	TypeSlack     Type = "slack"     // Slack's incoming webhooks, and what is compatible with them.
	TypeTeams     Type = "teams"     // A workflow of Microsoft Teams that posts an adaptive card.
	TypePagerDuty Type = "pagerduty" // PagerDuty's Events API v2.
	TypeOpsgenie  Type = "opsgenie"  // The alert API of Opsgenie and Jira Service Management.
	TypeEmail     Type = "email"     // A mail server, by SMTP.
	TypeWebhook   Type = "webhook"   // Any HTTP server; requests are as the Standard Webhooks have them.
)

// Types lists all types.
func Types() []Type {
	return []Type{TypeSlack, TypeTeams, TypePagerDuty, TypeOpsgenie, TypeEmail, TypeWebhook}
}

// Pages reports whether receivers of the type keep an incident for each target: opened by what a person must know, and closed by a
// later success.
func (t Type) Pages() bool { return t == TypePagerDuty || t == TypeOpsgenie }

// Receiver is a chat, pager, mailbox or webhook that receives results.
type Receiver struct {
	// Name is unique: lower-case letters, digits, - and _.
	Name string
	Type Type
	// URL is where the address of a chat or webhook is kept, which may hold a token. It is read anew for every request.
	URL secret.Ref
	// Endpoint is the URL of a pager's API. Empty: the vendor's own.
	Endpoint string
	// Key is where the key of a pager is kept. It is read anew for every request.
	Key secret.Ref
	// Mail says where a mail goes.
	Mail Mail
	// Console is the URL of the console, for links. Empty: no links.
	Console string
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

// Place says where the address of the receiver is configured, for people.
func (t *Receiver) Place() string {
	switch {
	case t.Type == TypeEmail:
		return "key email.server"
	case t.Type.Pages():
		return "key endpoint"
	}
	return t.URL.String()
}

// parallel is how many notifications are under way to the receiver at once. All but webhooks get them in
// their order while none fails: people read them, and a chat allows one a second anyway.
func (t Receiver) parallel() int {
	const webhooks = 4
	if t.Type == TypeWebhook {
		return webhooks
	}
	return 1
}

// wants reports whether the receiver is notified of a result or verdict.
func (t *Receiver) wants(r *Result) bool {
	if t.Type.Pages() {
		return t.action(r) != ActionNone
	}
	return t.Filter.Matches(&r.record, r.isVerdict())
}

// Subscribed are the outcomes and verdicts that concern the receiver: those of its filter, and for a pager those that may close an
// incident. Empty outcomes are all.
func (t Receiver) Subscribed() (outcomes []jobs.Outcome, verdicts []jobs.Verdict) {
	if !t.Type.Pages() {
		return t.Filter.Outcomes, t.Filter.Verdicts
	}
	outcomes, verdicts = slices.Clone(t.Filter.Outcomes), slices.Clone(t.Filter.Verdicts)
	for _, outcome := range jobs.Outcomes() {
		if outcome.Success() && len(outcomes) > 0 && !slices.Contains(outcomes, outcome) {
			outcomes = append(outcomes, outcome)
		}
	}
	for _, verdict := range jobs.FinalVerdicts() {
		if !verdict.Alive() && !slices.Contains(verdicts, verdict) {
			verdicts = append(verdicts, verdict)
		}
	}
	return outcomes, verdicts
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
	return wanted && f.concerns(r)
}

// concerns reports whether the filter lets any result of a job through.
func (f Filter) concerns(r *jobs.PublicRecord) bool {
	return among(f.Lanes, r.Lane) && among(f.Kinds, r.Kind) && among(f.Accounts, r.Account)
}

func among[T comparable](list []T, value T) bool {
	return len(list) == 0 || slices.Contains(list, value)
}
