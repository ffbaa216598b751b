package jobs

import (
	"crypto/sha256"
	"encoding/base32"
	"time"
)

// Event is something that arrived and asks for a job.
type Event struct {
	EventRef
	// Class is what its subject has behind "event.", one token or several.
	Class string
	// Replayed says that it was published once more under the identity that it had: its intake
	// may have been cut off, in a message that does not come any more.
	Replayed bool
	// Trace is the traceparent that the event came with (W3C Trace Context), "" when there is none.
	Trace    string
	Envelope Envelope
	// Asks says that it is a direct request, which Request is.
	Asks    bool
	Request Request
	// Unclear is, for an event that is no direct request, why it is none: *Malformed, joined.
	Unclear error
}

// EventRef names an event for ever: in the ledger, in results, in dead letters.
type EventRef struct {
	// Source and ID are its identity: those of the CloudEvent, else the stream and the
	// Nats-Msg-Id or sequence.
	Source string `json:"source"`
	ID     string `json:"id"`
	// Subject and Seq are where it stands in the stream of events.
	Subject string `json:"subject,omitempty"`
	Seq     uint64 `json:"seq,omitempty"`
	// At is when NATS accepted it.
	At time.Time `json:"at,omitzero"`
}

// Same reports whether both name the same event.
func (e EventRef) Same(other EventRef) bool { return e.Source == other.Source && e.ID == other.ID }

// size is how many bytes its names have.
func (e EventRef) size() int { return len(e.Source) + len(e.ID) + len(e.Subject) }

// idEncoding writes job ids: lower-case letters and digits, fit for subjects, keys and
// double clicks.
var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// ID returns the id of the job that an event with this identity asks for. The same event
// asking for the same action on the same target is always the same job; an event that
// asks for several gets several.
func ID(source, id string, kind Kind, p Params) string {
	h := sha256.New()
	for _, part := range []string{source, id, targetKey(kind, p)} {
		sum := sha256.Sum256([]byte(part))
		h.Write(sum[:])
	}
	return idEncoding.EncodeToString(h.Sum(nil)[:16])
}

// DryID is the id that a job has as a dry run.
func DryID(id string) string {
	sum := sha256.Sum256([]byte(id + "\x00dry run"))
	return idEncoding.EncodeToString(sum[:16])
}
