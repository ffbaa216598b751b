package jobs

import (
	"fmt"
	"slices"
	"strings"

	"rekey/internal/kinds"
)

// Limits bound what one policy, or all intake, may ask for: a net under a mistaken rule or a
// forged event.
type Limits struct {
	// MaxJobsPerEvent is how many jobs one event may make. Zero: no limit of its own.
	MaxJobsPerEvent int `yaml:"max_jobs_per_event" json:"max_jobs_per_event,omitempty"`
	// MaxJobsPerHour is how many jobs all workers together may take in within an hour. Zero: no limit.
	MaxJobsPerHour int `yaml:"max_jobs_per_hour" json:"max_jobs_per_hour,omitempty"`
	// Allow, where a list is not empty, is all that is permitted.
	Allow Bounds `yaml:"allow" json:"allow,omitzero"`
	// Deny is never permitted, whatever Allow says.
	Deny Bounds `yaml:"deny" json:"deny,omitzero"`
}

// Bounds are lists of what jobs act with and on. A list concerns the jobs that name such a
// thing: a token names no project.
type Bounds struct {
	// Accounts are names of accounts. Default none.
	Accounts []string `yaml:"accounts" json:"accounts,omitempty"`
	// Organizations, Projects and Federations are ids. Default none.
	Organizations []string `yaml:"organizations" json:"organizations,omitempty"`
	Projects      []string `yaml:"projects" json:"projects,omitempty"`
	Federations   []string `yaml:"federations" json:"federations,omitempty"`
	// Kinds are kinds of jobs. Default none.
	Kinds []string `yaml:"kinds" json:"kinds,omitempty"`
}

// bound is one list of Bounds with the value of a job that it is about.
type bound struct {
	name  string
	list  []string
	value string
}

// of pairs the lists with the values of a job. A job that has no such value is left out.
func (b Bounds) of(j Job) []bound {
	all := []bound{
		{"accounts", b.Accounts, j.Account},
		{"organizations", b.Organizations, j.Params.Get(kinds.ParamOrg)},
		{"projects", b.Projects, j.Params.Get(kinds.ParamProject)},
		{"federations", b.Federations, j.Params.Get(kinds.ParamFederation)},
		{"kinds", b.Kinds, string(j.Kind)},
	}
	return slices.DeleteFunc(all, func(one bound) bool { return one.value == "" || len(one.list) == 0 })
}

// forbids says which list of the limits a job offends, or nothing. It names lists, and
// values that the configuration or the job's target shows anyway.
func (l Limits) forbids(j Job) string {
	for _, b := range l.Deny.of(j) {
		if slices.Contains(b.list, b.value) {
			return fmt.Sprintf("deny.%s has %s", b.name, b.value)
		}
	}
	for _, b := range l.Allow.of(j) {
		if !slices.Contains(b.list, b.value) {
			return fmt.Sprintf("allow.%s does not have %s", b.name, b.value)
		}
	}
	return ""
}

// RejectCode is why an event, or a part of what it asks for, is among the dead letters
// although it could be read. The set is closed.
type RejectCode string

// The reject codes.
const (
	RejectPolicy    RejectCode = "policy"    // An expression of a policy erred, or what it made is no job.
	RejectLimit     RejectCode = "limit"     // It exceeds a limit, or is too old, or comes from the future.
	RejectSignature RejectCode = "signature" // Its signature is missing or wrong, or too old.
	RejectIdentity  RejectCode = "identity"  // It uses a name of Rekey's own on a subject that may not.
	RejectConflict  RejectCode = "conflict"  // A job that does something else has its source and id.
	RejectPlaintext RejectCode = "plaintext" // It holds a secret in the clear, which intake.plaintext refuses.
	RejectUnread    RejectCode = "unread"    // What it asks to contain is not where it says.
	RejectUnmatched RejectCode = "unmatched" // No policy and no direct request; by choice.
)

// Rejection is one reason for which an event, or a part of it, is rejected. It never repeats a secret.
type Rejection struct {
	Code   RejectCode
	Policy string // The policy that it is about; empty for what concerns the event.
	Field  string // The field of the policy or of the event.
	Detail string
}

// Error names policy, field and cause.
func (h *Rejection) Error() string {
	var parts []string
	if h.Policy != "" {
		parts = append(parts, "policy "+h.Policy)
	}
	if h.Field != "" {
		parts = append(parts, h.Field)
	}
	return strings.Join(append(parts, h.Detail), ": ")
}
