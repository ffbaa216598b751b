package jobs

import (
	"slices"
	"time"

	"rekey/internal/kinds"
)

// RecordedEvent is an event on the record of a job, with what it says for itself.
type RecordedEvent struct {
	EventRef
	Reason      string `json:"reason,omitempty"` // Free texts of its own request.
	RequestedBy string `json:"requested_by,omitempty"`
	OnBehalfOf  string `json:"on_behalf_of,omitempty"`
	// Contained says what it held, where it asked to contain a leak: the job may be that of another request.
	Contained string `json:"contained,omitempty"`
	// Duplicate says that the job had failed when the event asked for the same under the same
	// identity: nothing was done for it.
	Duplicate bool `json:"duplicate,omitempty"`
}

// recorded is the event that asks for a job.
func (j Job) recorded() RecordedEvent {
	return RecordedEvent{EventRef: j.Event, Reason: j.Reason, RequestedBy: j.RequestedBy, OnBehalfOf: j.OnBehalfOf, Contained: j.Contained}
}

// size is how many bytes its texts have.
func (e RecordedEvent) size() int {
	return e.EventRef.size() + len(e.Reason) + len(e.RequestedBy) + len(e.OnBehalfOf) + len(e.Contained)
}

// HasEvent reports whether the event made or joined this job.
func (r *PublicRecord) HasEvent(e EventRef) bool {
	return slices.ContainsFunc(r.Events, func(have RecordedEvent) bool { return have.Same(e) })
}

// lists reports whether this very message is listed.
func (r *Record) lists(e EventRef) bool {
	return slices.ContainsFunc(r.Events, func(have RecordedEvent) bool { return have.Same(e) && have.Seq == e.Seq })
}

// join adds an event that asks for what this unfinished job does already. The job expires
// when the last of its events does: one that may wait longer must not end with another's.
func (r *Record) join(e RecordedEvent, expiresAt time.Time) {
	r.EventCount++
	if r.fits(e) {
		r.Events = append(r.Events, e)
	}
	if outlasts(expiresAt, r.ExpiresAt) {
		r.ExpiresAt = expiresAt
	}
}

// joinedBy reports whether the event has joined this job, which another one made.
func (r *Record) joinedBy(j Job) bool {
	return r.does(j) && r.HasEvent(j.Event) && !r.Events[0].Same(j.Event)
}

// joinable reports whether an event may join this job: it will do what is asked, in time.
func (r *Record) joinable(j Job) bool {
	return !r.Done() && r.does(j) && !r.CancelAsked && (rotates(j.Kind) || j.ExpiresAt.IsZero() || r.RetryAt.Before(j.ExpiresAt))
}

// rotates reports whether jobs of a kind rotate a credential. There is one such job at a time: what asks for another one joins it, whatever it
// says, for the rotation that it asks for has begun.
func rotates(k Kind) bool { return kinds.Of(k).Rotates != nil }

// fits reports whether one more event can be listed. Those who publish must not be able to
// make the record of a job too large to be written.
func (r *Record) fits(e RecordedEvent) bool {
	size := e.size()
	for _, have := range r.Events {
		size += have.size()
	}
	return len(r.Events) < maxListedEvents && size <= maxEventsBytes
}
