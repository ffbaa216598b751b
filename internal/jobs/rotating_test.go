package jobs

import (
	"context"
	"testing"
	"testing/synctest"

	"rekey/internal/kinds"
)

// rotator ends each rotation at its first pass, and counts them.
type rotator struct{ passes int }

func (r *rotator) Rotate(context.Context, RotationPass) (RotationResult, error) {
	r.passes++
	return RotationResult{Outcome: OutcomeRotated}, nil
}

func (r *rotator) Ended(string, Outcome) {}

// TestAskedWhileTakenBack: a request for a rotation that is being taken back waits for the end of that. It rotates where the other one was taken
// back, and not where that went on.
func TestAskedWhileTakenBack(t *testing.T) {
	for _, tt := range []struct {
		first Outcome // Of the job that is being taken back.
		want  Outcome
		asked int
	}{{OutcomeCancelled, OutcomeRotated, 1}, {OutcomeRotated, OutcomeCancelled, 0}} {
		t.Run(string(tt.first), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, rotates := newPlant(), &rotator{}
				event := func(e *Event) {
					e.Request.Kind = kinds.ServiceAccountSecretRotate
					e.Request.Params = mustParams(t, kinds.ServiceAccountSecretRotate, map[string]any{"rotation": "ci"})
				}
				first := p.record(t, p.acceptJob(t, jwksEvent(t, 1, event)).ID)
				first.CancelAsked = true
				p.put(t, first)
				job := p.acceptJob(t, jwksEvent(t, 2, event))
				runner := p.runner(t, "w", func(c *RunnerConfig) { c.Rotator = rotates })
				if s := run(t, runner, Delivery{Job: job}); s.Done || s.Delay != othersPoll || rotates.passes != 0 {
					t.Fatalf("beside the other one it is settled as %+v after %d passes", s, rotates.passes)
				}
				if got, want := p.record(t, job.ID).Detail, "job "+first.JobID+", which is being taken back"; got != want {
					t.Errorf("it says that it waits for %q, want %q", got, want)
				}
				first.State, first.Outcome = StateDone, tt.first
				p.put(t, first)
				deliverUntilDone(t, runner, job)
				if got := p.record(t, job.ID); got.Outcome != tt.want || rotates.passes != tt.asked {
					t.Errorf("after %d passes it is %s: %s", rotates.passes, got.Outcome, got.Detail)
				}
			})
		})
	}
}
