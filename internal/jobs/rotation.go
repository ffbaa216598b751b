package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rekey/internal/kinds"
)

// RotationStep is a step of a rotation. The set is closed.
type RotationStep string

// The steps of a rotation, in their order.
const (
	StepLook    RotationStep = "look"    // What the account has is read.
	StepRoom    RotationStep = "room"    // A slot is made free for the new secret.
	StepCreate  RotationStep = "create"  // The new secret is made, sealed and stored.
	StepDeliver RotationStep = "deliver" // Every store gets it.
	StepProve   RotationStep = "prove"   // It gets a token, which is revoked.
	StepAdopt   RotationStep = "adopt"   // Its users move over.
	StepDelete  RotationStep = "delete"  // The old secret is deleted.
	StepVerify  RotationStep = "verify"  // The account has the new one and no other.
	StepAbandon RotationStep = "abandon" // The new secret is taken back, as an operator asked.
)

// RotationSteps lists all steps in their order.
func RotationSteps() []RotationStep {
	return []RotationStep{StepLook, StepRoom, StepCreate, StepDeliver, StepProve, StepAdopt, StepDelete, StepVerify, StepAbandon}
}

// Rotation is how far a job is that rotates a credential: what was done, what is done now, and what it waits for. It holds no secret.
type Rotation struct {
	Name string `json:"name"`
	// In is the key of the configuration that says where what is rotated is, as in org_id, and Place its value.
	In    string `json:"in"`
	Place string `json:"place"`
	// Subject is what is rotated: the client id of a service account, or the id of the first API key.
	Subject string `json:"subject"`

	Step      RotationStep `json:"step"`
	StepSince time.Time    `json:"step_since"`
	// Waits says what the step waits for, and WaitsSince since when. Empty: for nothing.
	Waits      string    `json:"waits_for,omitempty"`
	WaitsSince time.Time `json:"waits_since,omitzero"`

	// OldID is the secret that is to go, and NewID the one that takes its place; empty: there is none, or it is not made yet.
	OldID string `json:"old_id,omitempty"`
	NewID string `json:"new_id,omitempty"`
	// Deadline is when the old secret ends by itself, by the API's clock, and NewExpiresAt when the new one does.
	Deadline     time.Time `json:"deadline,omitzero"`
	NewExpiresAt time.Time `json:"new_expires_at,omitzero"`
	// Overdue says that the deadline is near and the old secret is in use, or may be.
	Overdue bool `json:"overdue,omitempty"`

	// Before are the secrets that the account had before the first request for a new one, and Asked those requests.
	Before []string `json:"before,omitempty"`
	Asked  []Asked  `json:"asked,omitempty"`
	// Seen is what was seen of each secret, by its id.
	Seen map[string]SeenSecret `json:"seen,omitempty"`
	// Stores are the stores that have the new secret.
	Stores []string `json:"stores,omitempty"`
	// ProvenAt is when the new secret was last known to be used by this rotation itself, by the API's clock.
	ProvenAt time.Time `json:"proven_at,omitzero"`
	// ProvenUse is when the new secret was last used, as the API said right after that.
	ProvenUse time.Time `json:"proven_use,omitzero"`
	// Restarts counts how often the rotation began anew because the new secret was gone.
	Restarts int `json:"restarts,omitempty"`

	// Steps are the steps that were taken: the first one and the latest, 64 in all.
	Steps []RotationEntry `json:"steps"`
}

// Asked is one request for a new secret.
type Asked struct {
	// At is when it was asked for, by the API's clock.
	At time.Time `json:"at"`
	// Hours is the lifetime that was asked for. It differs a little from request to request, and tells whose a secret is whose
	// answer was lost.
	Hours int `json:"hours,omitempty"`
	// Mark is what tells it besides that, where there is no lifetime.
	Mark string `json:"mark,omitempty"`
}

// SeenSecret is what was seen of a secret.
type SeenSecret struct {
	// UsedAt is when it was last used, as the API says.
	UsedAt time.Time `json:"last_used_at,omitzero"`
	// StillSince is when it was first seen like this, by the time that all workers share.
	StillSince time.Time `json:"unchanged_since"`
}

// RotationEntry is one step that was taken.
type RotationEntry struct {
	Step    RotationStep `json:"step"`
	BeganAt time.Time    `json:"began_at"`
	EndedAt time.Time    `json:"ended_at,omitzero"`
	Will    string       `json:"will"`           // What is to be done, recorded before.
	Says    string       `json:"says,omitempty"` // What came of it.
}

// maxRotationSteps bounds the listed steps.
const maxRotationSteps = 64

// Begin lists a step that begins now.
func (r *Rotation) Begin(step RotationStep, now time.Time, will string) {
	r.Step, r.StepSince = step, now
	r.Waits, r.WaitsSince = "", time.Time{}
	r.Steps = append(r.Steps, RotationEntry{Step: step, BeganAt: now, Will: clip(will)})
	if len(r.Steps) > maxRotationSteps {
		r.Steps = slices.Delete(r.Steps, 1, 2)
	}
}

// End says what came of the step that is under way.
func (r *Rotation) End(now time.Time, says string) {
	if n := len(r.Steps); n > 0 && r.Steps[n-1].EndedAt.IsZero() {
		r.Steps[n-1].EndedAt, r.Steps[n-1].Says = now, clip(says)
	}
}

// Wait says what the step waits for.
func (r *Rotation) Wait(now time.Time, what string) {
	if r.Waits == "" {
		r.WaitsSince = now
	}
	r.Waits = clip(what)
}

// Committed reports whether the API may have made a secret for the rotation: from then on it ends only when its end is known.
func (r *Rotation) Committed() bool { return r != nil && (r.NewID != "" || len(r.Asked) > 0) }

// Copied is the rotation with lists of its own.
func (r *Rotation) Copied() *Rotation {
	if r == nil {
		return nil
	}
	other := *r
	other.Before, other.Asked, other.Stores, other.Steps = slices.Clone(r.Before), slices.Clone(r.Asked), slices.Clone(r.Stores), slices.Clone(r.Steps)
	other.Seen = map[string]SeenSecret{}
	maps.Copy(other.Seen, r.Seen)
	return &other
}

// RotationState is a rotation with what only the ledger keeps.
type RotationState struct {
	*Rotation

	// NewSecret is the sealed form of the new secret; empty while there is none.
	NewSecret string
	// Gone are the values in the paths of the secret that was deleted, for its proof.
	Gone map[string]string
}

// RotationPass is what a Rotator takes one step further.
type RotationPass struct {
	Job   Job
	State RotationState // As recorded; without a Rotation, it begins.
	// Abandon is why an operator wants the rotation to be taken back; empty: none does.
	Abandon string
	// Keep records the state while the lease on the job is held: before something is changed at the API, and after.
	Keep func(ctx context.Context, s RotationState) error
}

// RotationResult is what came of a pass.
type RotationResult struct {
	// Outcome is how the rotation ended; empty: it goes on.
	Outcome Outcome
	// Detail tells a person why it ended so.
	Detail string
	// Wait is how long to wait before the next pass; zero: the rotation goes on at once.
	Wait time.Duration
	// Kept says that the rotation goes on although an operator wanted it to be taken back.
	Kept bool
	// Answer is the last request of the pass that changed something; the zero Answer: nothing was changed.
	Answer Answer
}

// Rotator takes rotations further.
type Rotator interface {
	// Rotate takes a rotation one step further. Its error is a *Failure.
	Rotate(ctx context.Context, p RotationPass) (RotationResult, error)
	// Ended hears how a rotation ended.
	Ended(rotation string, outcome Outcome)
}

// RotationRule is what requests for a configured rotation go by.
type RotationRule struct {
	Kind    Kind   // Of its jobs.
	Account string // As which it calls.
}

// accountFor is the account that a request names. That of a rotation is the rotation's.
func (r *Rules) accountFor(request Request) (string, error) {
	if kinds.Of(request.Kind).Rotates == nil {
		return request.Account, nil
	}
	name := request.Params.Get(kinds.ParamRotation)
	rotation, known := r.Rotations[name]
	switch {
	case !known:
		return "", &Malformed{Field: "params." + kinds.ParamRotation, Detail: "is not the name of a rotation; " + r.rotations()}
	case request.Kind != rotation.Kind:
		return "", &Malformed{Field: "kind", Detail: fmt.Sprintf("rotation %s is made by jobs of the kind %s", name, rotation.Kind)}
	case request.Account != "" && request.Account != rotation.Account:
		return "", &Malformed{Field: "account", Detail: fmt.Sprintf("rotation %s calls as %s; leave it out", name, rotation.Account)}
	}
	return rotation.Account, nil
}

// resolve returns the account that a request names, if it does, and that as which its job calls.
func (r *Rules) resolve(request Request) (named, account string, err error) {
	if named, err = r.accountFor(request); err == nil {
		account, err = r.Accounts.Resolve(request.Kind, named)
	}
	return named, account, err
}

// rotations says which rotations there are.
func (r *Rules) rotations() string {
	if len(r.Rotations) == 0 {
		return "none is configured"
	}
	return "there is " + strings.Join(slices.Sorted(maps.Keys(r.Rotations)), ", ")
}

// SecretEnds is when the secret ends that a rotation which is over has left: the new one, or, where that was taken back, the old one, whose
// life stays cut. The zero time: that is not known.
func (r *PublicRecord) SecretEnds() time.Time {
	switch {
	case !r.Done() || r.Rotation == nil || r.DryRun:
		return time.Time{}
	case r.Outcome == OutcomeRotated:
		return r.Rotation.NewExpiresAt
	}
	return r.Rotation.Deadline
}

// RotatingKinds are the kinds of the jobs that take several steps, and days.
func RotatingKinds() []Kind {
	var list []Kind
	for _, k := range kinds.Rotating() {
		list = append(list, k.Name)
	}
	return list
}

// Rotates reports whether the job takes several steps.
func (r *PublicRecord) Rotates() bool { return kinds.Of(r.Kind).Rotates != nil }

// RotationWords are how texts speak of what the job rotates; zero: it rotates nothing.
func (r *PublicRecord) RotationWords() kinds.Words {
	if rotates := kinds.Of(r.Kind).Rotates; rotates != nil {
		return rotates.Words
	}
	return kinds.Words{}
}

// looking reports whether the rotation waits, so that its attempt changes nothing.
func (r *PublicRecord) looking() bool { return r.Rotation != nil && r.Rotation.Waits != "" }

// dropLook takes the latest attempt off the list where it was one more look of a rotation that waits: there may be thousands.
func (r *Record) dropLook() {
	last := r.lastAttempt()
	if r.looking() && len(r.Attempts) > 1 && last.Reason == ReasonNone && last.Method == "" {
		r.Attempts = r.Attempts[:len(r.Attempts)-1]
	}
}

// FindRotation returns the latest job of a rotation, or ErrNotFound. A name may have been that of a rotation of another kind before.
func FindRotation(ctx context.Context, l Ledger, t Targets, name string) (Record, error) {
	latest, found := Record{}, ErrNotFound
	for _, kind := range RotatingKinds() {
		rec, err := findRotation(ctx, l, t, kind, name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Record{}, err
		}
		if err == nil && (found != nil || rec.AcceptedAt.After(latest.AcceptedAt)) {
			latest, found = rec, nil
		}
	}
	return latest, found
}

// findRotation returns the latest job of a kind for a rotation, or ErrNotFound.
func findRotation(ctx context.Context, l Ledger, t Targets, kind Kind, name string) (Record, error) {
	params, err := NewParams(kind, map[string]any{kinds.ParamRotation: name})
	if err != nil {
		return Record{}, err
	}
	holder, err := t.Load(ctx, Job{Kind: kind, Params: params}.TargetKey())
	if err != nil {
		return Record{}, err
	}
	entry, err := l.Load(ctx, holder.JobID)
	return entry.Record, err
}
