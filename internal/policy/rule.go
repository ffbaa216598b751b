package policy

import "rekey/internal/jobs"

// Expr is the text of a CEL expression.
type Expr string

// Rule is one policy, as the configuration has it.
type Rule struct {
	// Name is unique: lower-case letters, digits, - and _, at most 64. Records and results carry it.
	Name string `yaml:"name" json:"name"`
	// On chooses events by their envelope, before any expression is looked at. Empty: all events.
	On On `yaml:"on" json:"on,omitzero"`
	// When says whether the rule matches. Empty: it does.
	When Expr `yaml:"when" json:"when,omitempty"`
	// Jobs are what is asked for when it does; at least one.
	Jobs []Job `yaml:"jobs" json:"jobs"`
	// DryRun lets the jobs go through everything but the call that changes something. Default false.
	DryRun bool `yaml:"dry_run" json:"dry_run,omitempty"`
	// Limits bound what this rule may ask for. Default none of its own.
	Limits jobs.Limits `yaml:"limits" json:"limits,omitzero"`
}

// On chooses events. Of each list that is not empty, one pattern must match.
type On struct {
	// Subjects are NATS subjects; * stands for one token and > for the rest.
	Subjects []string `yaml:"subjects" json:"subjects,omitempty"`
	// Types are CloudEvents types; * stands for any characters. Plain JSON has no type.
	Types []string `yaml:"types" json:"types,omitempty"`
	// Sources are CloudEvents sources; * stands for any characters.
	Sources []string `yaml:"sources" json:"sources,omitempty"`
}

// Job is what a rule asks for. All its fields but Kind are expressions; ForEach gives a
// list, Params, Account, Lane, Reason and RequestedBy give strings.
type Job struct {
	// Kind is the kind of the jobs. Required.
	Kind jobs.Kind `yaml:"kind" json:"kind"`
	// ForEach makes one job for each element, which the other expressions know as item. Empty: one job.
	ForEach Expr `yaml:"for_each" json:"for_each,omitempty"`
	// Params are the parameters of the kind.
	Params map[string]Expr `yaml:"params" json:"params"`
	// Account gives the name of an account. It may be empty when there is only one.
	Account Expr `yaml:"account" json:"account,omitempty"`
	// Lane gives urgent, normal or bulk. Empty leaves it to the class of the event.
	Lane Expr `yaml:"lane" json:"lane,omitempty"`
	// Reason and RequestedBy give free texts, shown in results. Empty: none.
	Reason      Expr `yaml:"reason" json:"reason,omitempty"`
	RequestedBy Expr `yaml:"requested_by" json:"requested_by,omitempty"`
	// ExpiresAt gives a timestamp, or a string of RFC 3339, after which the job is not attempted. Empty: never.
	ExpiresAt Expr `yaml:"expires_at" json:"expires_at,omitempty"`
}

// Account is what expressions can find an account by.
type Account struct {
	Name     string `json:"name"`
	ClientID string `json:"client_id,omitempty"` // Empty for an API key.
}

// Problem is one mistake in a rule.
type Problem struct {
	Path   string // The field, from the rule on: jobs[0].params.token.
	Detail string
}
