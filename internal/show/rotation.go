package show

import (
	"slices"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/terminal"
)

// ConfiguredRotation is a rotation of the configuration with its latest job.
type ConfiguredRotation struct {
	Name string `json:"name"`
	// Subject is what is rotated: a client id, or the id of an API key. Empty: it has not run yet.
	Subject string `json:"subject,omitempty"`
	// State is the step of an unfinished job, else the outcome of the latest one; empty: there was none.
	State string `json:"state,omitempty"`
	JobID string `json:"job_id,omitempty"`
	// Since is when the step began, or the job ended.
	Since    time.Time `json:"since,omitzero"`
	WaitsFor string    `json:"waits_for,omitempty"`
	Deadline time.Time `json:"deadline,omitzero"`
	Overdue  bool      `json:"overdue,omitempty"`
}

// NewRotation is a configured rotation with its latest job; nil: there was none.
func NewRotation(name string, r *jobs.PublicRecord) ConfiguredRotation {
	c := ConfiguredRotation{Name: name}
	if r != nil && r.Rotation != nil {
		c.Subject = r.Rotation.Subject
	}
	switch {
	case r == nil:
		return c
	case r.Done():
		c.State, c.Since = string(r.Outcome), r.FinishedAt
	case r.Rotation == nil:
		c.State, c.Since, c.WaitsFor = string(r.State), r.AcceptedAt, r.Detail
	default:
		c.State, c.Since, c.WaitsFor = string(r.Rotation.Step), r.Rotation.StepSince, r.Rotation.Waits
		c.Deadline, c.Overdue = r.Rotation.Deadline, r.Rotation.Overdue
	}
	c.JobID = r.JobID
	return c
}

// Rotations are a list of configured rotations.
func Rotations(t *terminal.Table, list []ConfiguredRotation) {
	t.Head("NAME", terminal.Optional("ROTATES"), terminal.Whole("STATE"), "SINCE", "OLD ONE ENDS", "JOB", "WAITS FOR")
	for _, r := range list {
		t.Wrapped(r.Name, r.Subject, r.state(), r.Since, r.Deadline, terminal.ID(r.JobID), r.WaitsFor)
	}
}

func (c ConfiguredRotation) state() terminal.Meant {
	meaning := terminal.Faint
	switch o := jobs.Outcome(c.State); {
	case o.Success():
		meaning = terminal.Good
	case o.DeadLetter():
		meaning = terminal.Bad
	case c.Overdue:
		return terminal.Meant{Cell: c.State + ", overdue", Meaning: terminal.Worth}
	case slices.Contains(jobs.RotationSteps(), jobs.RotationStep(c.State)):
		meaning = terminal.Worth
	}
	return terminal.Meant{Cell: c.State, Meaning: meaning}
}

// rotationFields show how far a rotation is, and its steps.
func rotationFields(t *terminal.Table, record *jobs.PublicRecord) {
	r, done, words := record.Rotation, record.Done(), record.RotationWords()
	t.Field("rotates", words.Subject+" "+r.Subject)
	if !done {
		t.Field("step", string(r.Step))
		t.Field("since", r.StepSince)
	}
	if r.Waits != "" && !done {
		t.Field("waits for", r.Waits)
		t.Field("waits since", r.WaitsSince)
	}
	if r.OldID != "" {
		t.Field("old "+words.One, r.OldID)
	}
	if r.NewID != "" {
		t.Field("new "+words.One, r.NewID)
		if !r.NewExpiresAt.IsZero() {
			t.Field("expires", r.NewExpiresAt)
		}
	}
	if !done && !r.Deadline.IsZero() {
		t.Field("old one ends", r.Deadline)
	}
	for _, store := range r.Stores {
		t.Field("delivered to", store)
	}
	for _, e := range r.Steps {
		says := e.Says
		switch {
		case !e.EndedAt.IsZero():
		case done:
			says = "the job ended before this step was over: " + e.Will
		default:
			says = "under way: " + e.Will
		}
		t.Field("  "+string(e.Step), says)
	}
}
