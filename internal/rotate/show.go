package rotate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rekey/internal/jobs"
)

// Results of rotations besides their outcomes, for the Recorder. Each is counted when it happens.
const (
	resultBegun       = "begun"
	resultOverdue     = "overdue"         // The end of the old secret is near, and it is in use or may be.
	resultOrphan      = "orphan"          // A secret whose value was lost with the answer was deleted.
	resultUndelivered = "delivery_failed" // An attempt to deliver failed.
	resultRestarted   = "restarted"       // The new secret was gone, and the rotation began anew.
	resultKept        = "not_abandoned"   // It could not be taken back.
)

// Results lists all results of rotations.
func Results() []string {
	return []string{
		resultBegun, string(jobs.OutcomeRotated), string(jobs.OutcomeRefused), string(jobs.OutcomeExhausted), string(jobs.OutcomeCancelled),
		resultOverdue, resultOrphan, resultUndelivered, resultRestarted, resultKept,
	}
}

func (s *pass) count(result string) { s.cfg.Recorder.Rotation(s.State.Name, result) }

// Ended counts how a rotation ended.
func (r *Rotator) Ended(rotation string, outcome jobs.Outcome) {
	r.cfg.Recorder.Rotation(rotation, string(outcome))
}

// Gauges show how far rotations are.
type Gauges interface {
	// RotationAt says at which step a rotation is, since when, and when its old secret ends by itself; empty and zero: it is at none.
	RotationAt(rotation, step string, since, deadline time.Time)
	// RotationLeft says when the secret ends that the latest rotation has left; the zero time: that is not known.
	RotationLeft(rotation string, ends time.Time)
}

// Monitor shows how far the rotations of the whole fleet are: another worker may have taken them further. All fields are required.
type Monitor struct {
	Names   func() []string // The configured rotations.
	Ledger  jobs.Ledger
	Targets jobs.Targets
	Gauges  Gauges
}

// lookEvery is how often the records of rotations are looked at.
const lookEvery = 15 * time.Second

// Run shows the rotations until ctx ends.
func (m Monitor) Run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		if err := m.look(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (m Monitor) look(ctx context.Context) error {
	for _, name := range m.Names() {
		rec, err := jobs.FindRotation(ctx, m.Ledger, m.Targets, name)
		if err != nil && !errors.Is(err, jobs.ErrNotFound) {
			return fmt.Errorf("looking up rotation %s: %w", name, err)
		}
		m.Gauges.RotationLeft(name, rec.SecretEnds())
		if err != nil || rec.Done() || rec.Rotation == nil {
			m.Gauges.RotationAt(name, "", time.Time{}, time.Time{})
			continue
		}
		m.Gauges.RotationAt(name, string(rec.Rotation.Step), rec.Rotation.StepSince, rec.Rotation.Deadline)
	}
	return nil
}
