package jobs

import "time"

// Job is one action on one credential.
type Job struct {
	ID          string
	Kind        Kind
	Account     string
	Params      Params
	Lane        Lane
	Origin      Origin
	Reason      string // Free text of the request.
	RequestedBy string
	Event       EventRef  // The event that made it.
	AcceptedAt  time.Time // When NATS accepted that event.
	ExpiresAt   time.Time // Zero: never.
}

// Target names what the job acts on, for people.
func (j Job) Target() string { return Target(j.Kind, j.Params) }

// TargetKey identifies kind and target in keys.
func (j Job) TargetKey() string { return targetKey(j.Kind, j.Params) }

// newJob makes the job that an event asks for. The request is valid and names an account.
func newJob(e Event, account string) Job {
	lane := e.Request.Lane
	if lane == "" {
		lane = DefaultLane(e.Class)
	}
	return Job{
		ID:          ID(e.Source, e.ID, e.Request.Kind, e.Request.Params),
		Kind:        e.Request.Kind,
		Account:     account,
		Params:      e.Request.Params,
		Lane:        lane,
		Origin:      OriginOf(e.Class),
		Reason:      e.Request.Reason,
		RequestedBy: e.Request.RequestedBy,
		Event:       e.EventRef,
		AcceptedAt:  e.At,
		ExpiresAt:   e.Request.ExpiresAt,
	}
}
