package rotate_test

import (
	"context"
	"testing"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/rotate"
)

// gauges are those of a rotation.
type gauges struct {
	step string
	ends time.Time
}

func (g *gauges) RotationAt(_, step string, _, _ time.Time) { g.step = step }

func (g *gauges) RotationLeft(_ string, ends time.Time) { g.ends = ends }

// ledger has one record.
type ledger struct {
	jobs.Ledger

	record *jobs.Record
}

func (l ledger) Load(context.Context, string) (jobs.Entry, error) {
	return jobs.Entry{Record: *l.record}, nil
}

// targets have the job of a rotation, or none.
type targets struct {
	jobs.Targets

	none bool
}

func (t targets) Load(context.Context, string) (jobs.Holder, error) {
	if t.none {
		return jobs.Holder{}, jobs.ErrNotFound
	}
	return jobs.Holder{JobID: "job"}, nil
}

// TestSecretThatIsLeft: it is known which secret a rotation has left, and when that ends.
func TestSecretThatIsLeft(t *testing.T) {
	t.Parallel()
	fresh, old := time.Unix(2_000_000_000, 0), time.Unix(1_900_000_000, 0)
	record := func(state jobs.State, outcome jobs.Outcome, r jobs.Rotation) *jobs.Record {
		r.NewExpiresAt = fresh
		return &jobs.Record{PublicRecord: jobs.PublicRecord{State: state, Outcome: outcome, Rotation: &r}}
	}
	tests := []struct {
		name     string
		record   *jobs.Record
		wantStep string
		wantEnds time.Time
	}{
		{"none has run", nil, "", time.Time{}},
		{"under way", record(jobs.StateWaiting, "", jobs.Rotation{Step: jobs.StepAdopt, Deadline: old}), "adopt", time.Time{}},
		{"rotated", record(jobs.StateDone, jobs.OutcomeRotated, jobs.Rotation{Step: jobs.StepVerify, Deadline: old}), "", fresh},
		{"taken back", record(jobs.StateDone, jobs.OutcomeCancelled, jobs.Rotation{Step: jobs.StepLook, Deadline: old}), "", old},
		{"refused at first", record(jobs.StateDone, jobs.OutcomeRefused, jobs.Rotation{Step: jobs.StepLook}), "", time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := &gauges{step: "unset", ends: time.Unix(1, 0)}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // It looks once.
			m := rotate.Monitor{
				Names: func() []string { return []string{"ci"} }, Ledger: ledger{record: tt.record}, Targets: targets{none: tt.record == nil}, Gauges: g,
			}
			if err := m.Run(ctx); err != nil {
				t.Fatal(err)
			}
			if g.step != tt.wantStep || !g.ends.Equal(tt.wantEnds) {
				t.Errorf("at step %q, ends %s; want %q, %s", g.step, g.ends, tt.wantStep, tt.wantEnds)
			}
		})
	}
}
