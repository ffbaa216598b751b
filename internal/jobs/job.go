package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"rekey/internal/kinds"
)

// Job is one action on one credential.
type Job struct {
	ID          string
	Kind        Kind
	Account     string
	Params      Params
	Digest      string // What it does: see Record.RequestDigest.
	Lane        Lane
	Origin      Origin
	Reason      string // Free text of the request.
	RequestedBy string
	OnBehalfOf  string
	Policy      string // The policy that asked; "" for a direct request.
	// DryRun stops the job before the call that would change something. It has an id and a target of its
	// own: nothing that is meant must ever be taken for a duplicate of it.
	DryRun     bool
	Event      EventRef  // The event that made it.
	AcceptedAt time.Time // When NATS accepted that event.
	ExpiresAt  time.Time // Zero: never.
	// Contained says what a request of a kind without a call held, and Unfit why no kind fits that.
	Contained, Unfit string
	// NoProof says that a success is not checked.
	NoProof bool
	// Round counts how often an operator has retried the job.
	Round int
	// Trace is the traceparent that the job belongs to, "" when there is none.
	Trace string
	// Message names the message that brought the job from the queue; zero on its way there.
	Message uint64
	// Search is how far the job is with finding its target; nil: it has not begun. Keep records it, before anything is changed; nil
	// keeps nothing.
	Search *Search                                        `json:"-"`
	Keep   func(ctx context.Context, search Search) error `json:"-"`
	// Meaning is what the target is beyond its id, as read before the call; nil: it is not known. KeepMeaning records it; nil keeps nothing,
	// and then it need not be read.
	Meaning     map[string]string                                          `json:"-"`
	KeepMeaning func(ctx context.Context, meaning map[string]string) error `json:"-"`
	// Wake marks a message that carries no parameters: it only asks to look at the record.
	Wake bool
}

// Target names what the job acts on, for people.
func (j Job) Target() string { return Target(j.Kind, j.Params) }

// TargetKey identifies kind and target in keys. The account belongs to it where only the one
// that owns the credential can end it: a job of another account proves nothing.
func (j Job) TargetKey() string {
	if j.Params.key != "" {
		return j.Params.key
	}
	key := targetKey(j.Kind, j.Params)
	if kinds.Of(j.Kind).PerAccount {
		sum := sha256.Sum256([]byte(key + "\x00" + j.Account))
		key = hex.EncodeToString(sum[:16])
	}
	if j.DryRun {
		sum := sha256.Sum256([]byte(key + "\x00dry run"))
		key = hex.EncodeToString(sum[:16])
	}
	return key
}

// newJob makes the job that an event asks for. The request is valid and names an account.
func newJob(e Event, account string) Job {
	lane := e.Request.Lane
	if lane == "" {
		lane = DefaultLane(e.Class)
	}
	j := Job{
		Kind:        e.Request.Kind,
		Account:     account,
		Params:      e.Request.Params,
		Lane:        lane,
		Origin:      OriginOf(e.Class),
		Reason:      e.Request.Reason,
		RequestedBy: e.Request.RequestedBy,
		OnBehalfOf:  e.Request.OnBehalfOf,
		Policy:      e.Request.Policy,
		DryRun:      e.Request.DryRun,
		Event:       e.EventRef,
		AcceptedAt:  e.At,
		ExpiresAt:   e.Request.ExpiresAt,
		Trace:       e.Trace,
		Contained:   e.Request.Contained,
		Unfit:       e.Request.Unfit,
		NoProof:     e.Request.NoProof,
	}
	j.ID, j.Digest = j.id(), j.digest()
	return j
}
