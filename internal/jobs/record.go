package jobs

import (
	"strings"
	"time"
)

// Limits of a record, so that it stays far below NATS's largest message.
const (
	maxListedEvents   = 256
	maxEventsBytes    = 64 << 10 // Of the names of the listed events; JSON can write a byte as six.
	maxListedAttempts = 128
	maxErrorBytes     = 512 // Of the error of an attempt and of the detail of an outcome.
)

// Record is what the ledger keeps of a job. A field belongs here, unless all readers of results may see it.
type Record struct {
	PublicRecord
	// Sealed holds the sealed form of each secret parameter until the job has succeeded and its proof has a verdict, so that
	// it can be retried, and TargetKey the target of a job that has some.
	Sealed    map[string]string `json:"sealed,omitempty"`
	TargetKey string            `json:"target_key,omitempty"`
	// ByEvent says that a slot began the job at once, by the event that made it: until the job is queued for another attempt, that
	// event is the message that answers for it.
	ByEvent bool `json:"by_event,omitempty"`
	// Unfit says why no kind takes away what the request held.
	Unfit string `json:"unfit,omitempty"`
	// Meaning is what the target was beyond its id before the call, such as the group of a role mapping: what is put back has another id.
	Meaning map[string]string `json:"meaning,omitempty"`
	// BackAs are the ids of the object that came back with the target's meaning, by the names of parameters.
	BackAs map[string]string `json:"back_as,omitempty"`
	// NewSecret is the sealed form of a rotation's new secret, from when it was made until the old one is deleted.
	NewSecret string `json:"new_secret,omitempty"`
	// Proving is how far the proof is; nil where there is none under way.
	Proving *Proving `json:"proving,omitempty"`
}

// PublicRecord is what results, commands and pages show of a job: what was asked, tried and done. It holds no secret.
type PublicRecord struct {
	JobID       string            `json:"job_id"`
	Kind        Kind              `json:"kind"`
	Account     string            `json:"account"`
	Target      string            `json:"target"`
	Params      map[string]string `json:"params"` // Secrets as fingerprints.
	Lane        Lane              `json:"lane"`
	Origin      Origin            `json:"origin"`
	Reason      string            `json:"reason,omitempty"` // Free text of the request.
	RequestedBy string            `json:"requested_by,omitempty"`
	OnBehalfOf  string            `json:"on_behalf_of,omitempty"` // For whom the requester says to ask.
	Policy      string            `json:"policy,omitempty"`       // The policy that asked; empty for a direct request.
	Contained   string            `json:"contained,omitempty"`    // What a request to contain a leak held, such as jwt.
	DryRun      bool              `json:"dry_run,omitempty"`      // The job stops before the call that would change something.

	// RequestDigest is a hash of kind, account, parameters and dry run: what the job does. Events that
	// ask for the same have the same one.
	RequestDigest string `json:"request_digest,omitempty"`

	// Trace is the traceparent that the job belongs to (W3C Trace Context).
	Trace string `json:"traceparent,omitempty"`

	State   State   `json:"state"`
	Outcome Outcome `json:"outcome,omitempty"`
	// Detail tells a person why the job ended as it did. Of a rotation that has not begun it is what it waits for.
	Detail string `json:"detail,omitempty"`

	AcceptedAt time.Time `json:"accepted_at"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	RetryAt    time.Time `json:"retry_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	// Deliveries is how often the queue had handed the job over when its latest attempt began; 1 is
	// the first time. What is above the attempts are the times that it was sent away until its turn.
	Deliveries uint64 `json:"deliveries,omitempty"`
	// Paced says that RetryAt is an estimate: the job waits for its turn at the API's rate limit.
	Paced bool `json:"paced,omitempty"`

	// Events are the event that made the job, those that joined it while it was unfinished, and
	// those that asked for the same again after it had failed: the first 256 of EventCount, or fewer
	// where their texts are very long.
	Events     []RecordedEvent `json:"events"`
	EventCount int             `json:"event_count"`

	// Attempts are the first attempt and the latest ones, 128 in all, of AttemptCount.
	Attempts     []Attempt `json:"attempts"`
	AttemptCount int       `json:"attempt_count"`
	// Search is what was found of a target that is not named by its ids.
	Search *Search `json:"search,omitempty"`
	// Rotation is how far a job of several steps is. Nil: it has not begun, or makes one call.
	Rotation *Rotation `json:"rotation,omitempty"`
	// AttemptsSpent counts the attempts that count against the limit.
	AttemptsSpent int `json:"attempts_spent"`
	// AttemptsMaybeEffective counts the attempts that have or may have taken effect.
	AttemptsMaybeEffective int `json:"attempts_maybe_effective"`

	// Operations are what operators did to the job, the latest 64.
	Operations []Operation `json:"operations,omitempty"`
	// Round counts how often an operator has retried the job.
	Round int `json:"round,omitempty"`
	// ReopenedAt is when that was done last to a job that had ended. Its age counts from there.
	ReopenedAt time.Time `json:"reopened_at,omitzero"`
	// DroppedAt is when an operator dropped the dead letter of how the job has ended: it is dealt with. Zero: that is not so.
	DroppedAt time.Time `json:"dropped_at,omitzero"`
	// CancelAsked says that an operator wants the job to end before its next attempt.
	CancelAsked bool `json:"cancel_asked,omitempty"`

	Claim Claim `json:"claim,omitzero"`

	// NoProof says that no event of the job wants it to be checked after a success.
	NoProof bool `json:"no_proof,omitempty"`
	// Proof is what is known of the target since the job's success. Nil: it is not checked.
	Proof *Proof `json:"proof,omitempty"`

	// FinishedBy is the message of the queue whose delivery ended the job. It stays there until
	// the result is out, and it alone answers for that. Zero: the event that made the job does.
	FinishedBy uint64 `json:"finished_by,omitempty"`
}

// Claim is one worker's right to run a job until its lease ends. The lease, which is the
// time between the two moments, counts from when the ledger took the claim, by the ledger's
// own clock.
type Claim struct {
	Worker string `json:"worker"`
	// Instance tells a worker's process from another one of the same name.
	Instance string `json:"instance,omitempty"`
	// Embedded says that the ledger's server runs inside the worker: it is gone when another one runs it.
	Embedded bool      `json:"embedded,omitempty"`
	Since    time.Time `json:"since"` // When it was claimed, or the claim last renewed.
	Until    time.Time `json:"until"`
}

// renewed is the claim from now on.
func (c Claim) renewed(now time.Time, lease time.Duration) Claim {
	c.Since, c.Until = now, now.Add(lease)
	return c
}

// sameHolder reports whether both are claims of the same process.
func (c Claim) sameHolder(other Claim) bool {
	return c.Worker == other.Worker && c.Instance == other.Instance
}

// lease is how long the claim holds.
func (c Claim) lease() time.Duration { return c.Until.Sub(c.Since) }

// Attempt is one pass against the API.
type Attempt struct {
	Attempt    int       `json:"attempt"` // From 1.
	Worker     string    `json:"worker"`
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	DurationMS float64   `json:"duration_ms"`
	Version    string    `json:"version,omitempty"` // The worker's release.
	Method     string    `json:"method,omitempty"`  // What was sent: the HTTP method and the path below the base URL.
	Path       string    `json:"path,omitempty"`
	Status     int       `json:"status,omitempty"` // HTTP status; 0 when no answer came.
	ErrorCode  string    `json:"error_code,omitempty"`
	// Reason is "none" for an attempt that worked and empty for one that is under way.
	Reason    Reason    `json:"reason,omitempty"`
	Error     string    `json:"error,omitempty"`
	RetryAt   time.Time `json:"retry_at,omitzero"` // What came of it: not before this moment.
	RequestID string    `json:"request_id,omitempty"`
	// MaybeEffective says that the call has taken effect, or may have although no good answer came.
	MaybeEffective bool `json:"maybe_effective,omitempty"`
	// RetryAfterCapped says that the API's Retry-After was longer than is believed.
	RetryAfterCapped bool `json:"retry_after_capped,omitempty"`
}

// NewRecord is the record of a job that was just accepted.
func NewRecord(j Job) Record {
	r := Record{PublicRecord: PublicRecord{
		JobID: j.ID, Kind: j.Kind, Account: j.Account, Target: j.Target(), Params: j.Params.Shown(),
		Lane: j.Lane, Origin: j.Origin, Reason: j.Reason, RequestedBy: j.RequestedBy, OnBehalfOf: j.OnBehalfOf, Policy: j.Policy, DryRun: j.DryRun,
		Contained: j.Contained, NoProof: j.NoProof, RequestDigest: j.Digest, Trace: j.Trace, State: StateQueued,
		AcceptedAt: j.AcceptedAt, ExpiresAt: j.ExpiresAt,
		Events: []RecordedEvent{j.recorded()}, EventCount: 1, Attempts: []Attempt{},
	}}
	r.Unfit = j.Unfit
	if r.Sealed = j.Params.SealedForms(); r.Sealed != nil {
		r.TargetKey = j.TargetKey()
	}
	return r
}

// answersByEvent reports whether the job has ended without a message of its own.
func (r *Record) answersByEvent() bool { return r.ByEvent && r.Done() && r.FinishedBy == 0 }

// Done reports whether the job has its outcome.
func (r *PublicRecord) Done() bool { return r.State == StateDone }

// job is the recorded job as the queue needs it, with parameters of the same target.
func (r *Record) job(p Params) Job {
	return Job{
		ID: r.JobID, Kind: r.Kind, Account: r.Account, Params: p, Digest: r.RequestDigest, Lane: r.Lane, Origin: r.Origin, Reason: r.Reason,
		RequestedBy: r.RequestedBy, OnBehalfOf: r.OnBehalfOf, Policy: r.Policy, DryRun: r.DryRun, Trace: r.Trace, Event: r.Events[0].EventRef,
		AcceptedAt: r.AcceptedAt, ExpiresAt: r.ExpiresAt, Round: r.Round, Contained: r.Contained, Unfit: r.Unfit, NoProof: r.NoProof,
	}
}

// begin claims the job for worker until the lease ends and opens an attempt.
func (r *Record) begin(now time.Time, worker string, lease time.Duration) {
	r.closeLost(now)
	r.State = StateRunning
	r.RetryAt, r.Paced = time.Time{}, false
	r.Claim = Claim{Worker: worker}.renewed(now, lease)
	r.AttemptCount++
	r.dropLook()
	r.Attempts = append(r.Attempts, Attempt{Attempt: r.AttemptCount, Worker: worker, StartedAt: r.sinceAccepted(now)})
	if len(r.Attempts) > maxListedAttempts {
		r.Attempts = append(r.Attempts[:1], r.Attempts[len(r.Attempts)-maxListedAttempts+1:]...)
	}
}

// closeLost ends an attempt whose worker never came back, and reports whether there was one: what
// became of its call is not known.
func (r *Record) closeLost(now time.Time) bool {
	last := r.lastAttempt()
	if last == nil || !last.FinishedAt.IsZero() {
		return false
	}
	last.Reason = ReasonInterrupted
	last.FinishedAt = now
	switch {
	case r.DryRun:
		last.Error = "the worker was lost during the dry run, which changes nothing"
	case r.looking():
		last.Error = "the worker was lost while the rotation waited, which changes nothing"
	case r.searching():
		last.Error = "the worker was lost while it looked for the target, which changes nothing"
	default:
		last.Error = "the worker was lost during the call; whether it took effect is not known"
		last.MaybeEffective = true
		r.AttemptsMaybeEffective++
	}
	r.Claim = Claim{}
	return true
}

// end closes the open attempt with what came back; failure is nil when it worked.
func (r *Record) end(now time.Time, answer Answer, failure *Failure) {
	last := r.lastAttempt()
	last.FinishedAt = now
	last.DurationMS = float64(max(now.Sub(last.StartedAt), 0).Microseconds()) / 1000
	last.Reason = ReasonNone
	last.MaybeEffective = failure == nil && !answer.DryRun && !answer.Unchanged
	if failure != nil {
		answer = failure.Answer
		last.Reason = failure.Reason
		last.Error = clip(failure.Err.Error())
		last.MaybeEffective = failure.MaybeEffective && !r.DryRun
		last.RetryAfterCapped = failure.RetryAfterCapped
		if !failure.Reason.Free() {
			r.AttemptsSpent++
		}
	} else {
		r.AttemptsSpent++
	}
	last.Method, last.Path = answer.Method, answer.Path
	last.Status, last.ErrorCode, last.RequestID = answer.Status, answer.Code, answer.RequestID
	if last.MaybeEffective {
		r.AttemptsMaybeEffective++
	}
	r.Claim = Claim{}
}

// wait puts the job off until a moment.
func (r *Record) wait(until time.Time) {
	r.State = StateWaiting
	r.RetryAt, r.Paced = until, false
}

// await puts the job off until about a moment.
func (r *Record) await(turn time.Time) {
	r.wait(turn)
	r.Paced = true
}

// requeue puts an interrupted job back as it was.
func (r *Record) requeue() {
	r.State = StateQueued
	r.RetryAt, r.Paced = time.Time{}, false
}

// finish gives the job its outcome, on behalf of a message. prove says that a success is checked.
func (r *Record) finish(now time.Time, message uint64, outcome Outcome, detail string, prove bool) {
	r.State, r.FinishedBy = StateDone, message
	r.Outcome, r.Detail = outcome, clip(detail)
	r.FinishedAt = r.sinceAccepted(now)
	r.RetryAt, r.Paced = time.Time{}, false
	r.Claim, r.NewSecret = Claim{}, ""
	defer r.tellLate() // The proof begins with what was known without that.
	if !outcome.Success() {
		return
	}
	if prove && r.wantsProof() {
		r.beginProof()
	} else {
		r.Sealed = nil // It is not needed any more.
	}
}

// sinceAccepted is now, or the moment of the acceptance, where that is later: a worker's estimate of NATS's time may be a
// few milliseconds behind the time at which NATS has just stored an event.
func (r *Record) sinceAccepted(now time.Time) time.Time {
	if now.Before(r.AcceptedAt) {
		return r.AcceptedAt
	}
	return now
}

// Public is the record as it is shown and announced: without what only the ledger needs.
func (r Record) Public() PublicRecord { return r.PublicRecord }

// sameStep reports whether both records are at the same step of the job's life, so that
// one of them is the other as it was stored.
func (r *Record) sameStep(other *Record) bool {
	a, b := r.lastAttempt(), other.lastAttempt()
	sameAttempt := a == b || a != nil && b != nil && a.StartedAt.Equal(b.StartedAt) && a.FinishedAt.Equal(b.FinishedAt)
	return sameAttempt && r.State == other.State && r.AttemptCount == other.AttemptCount &&
		r.RetryAt.Equal(other.RetryAt) && r.FinishedAt.Equal(other.FinishedAt) &&
		r.Claim.sameHolder(other.Claim) && r.Claim.Until.Equal(other.Claim.Until)
}

func (r *Record) lastAttempt() *Attempt {
	if len(r.Attempts) == 0 {
		return nil
	}
	return &r.Attempts[len(r.Attempts)-1]
}

// clip keeps the head of a text that may be as long as an API's answer.
func clip(text string) string {
	if len(text) <= maxErrorBytes {
		return text
	}
	return strings.ToValidUTF8(text[:maxErrorBytes], "") + "…"
}

// maybeEffectiveBefore reports whether an attempt before the latest one has taken effect,
// or may have.
func (r *Record) maybeEffectiveBefore() bool {
	earlier := r.AttemptsMaybeEffective
	if last := r.lastAttempt(); last != nil && last.MaybeEffective {
		earlier--
	}
	return earlier > 0
}
