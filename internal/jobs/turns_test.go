package jobs

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestTurnIsAnEstimate: a job that came early asks again, a short wait is not worth a write, and
// neither is an estimate that has hardly changed.
func TestTurnIsAnEstimate(t *testing.T) {
	tests := []struct {
		name    string
		wait    time.Duration // Until its turn.
		noted   bool
		again   time.Duration // The delay of the second delivery, at once.
		changed bool          // The record, by the second delivery.
	}{
		{name: "short", wait: worthNoting - 1, again: time.Second},
		{name: "long", wait: time.Minute, noted: true, again: time.Minute + worthNoting - 1},
		{name: "later than planned", wait: time.Minute, noted: true, again: time.Minute + worthNoting, changed: true},
		{name: "much earlier", wait: time.Minute, noted: true, again: 10 * time.Second, changed: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				job := p.acceptJob(t, jwksEvent(t, 1))
				p.pacer.estimate, p.pacer.until = true, time.Now().Add(tt.wait)
				r := p.runner(t, "w1")
				if got := run(t, r, Delivery{Job: job}); got != (Settlement{Delay: tt.wait}) {
					t.Errorf("settlement %+v, want a delay of %s", got, tt.wait)
				}
				first := p.record(t, job.ID)
				if first.Paced != tt.noted || (first.State == StateWaiting) != tt.noted {
					t.Errorf("record %+v", first)
				}
				p.pacer.until = time.Now().Add(tt.again)
				if got := run(t, r, Delivery{Job: job}); got != (Settlement{Delay: tt.again}) {
					t.Errorf("the second settlement is %+v, want a delay of %s", got, tt.again)
				}
				if second := p.record(t, job.ID); second.RetryAt.Equal(first.RetryAt) == tt.changed {
					t.Errorf("the record's estimate went from %s to %s", first.RetryAt, second.RetryAt)
				}
				p.pacer.until = time.Time{}
				if got := run(t, r, Delivery{Job: job}); !got.Done {
					t.Errorf("with its turn the settlement is %+v", got)
				}
				if done := p.record(t, job.ID); done.Paced || !done.RetryAt.IsZero() {
					t.Errorf("record %+v", done)
				}
			})
		})
	}
}

// TestTurnBeyondTheEnd: an estimate ends no job; it comes back at its last moment and ends then.
func TestTurnBeyondTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1, func(e *Event) { e.Request.ExpiresAt = time.Now().Add(time.Minute) }))
		p.pacer.estimate, p.pacer.until = true, time.Now().Add(time.Hour)
		r := p.runner(t, "w1")
		if got := run(t, r, Delivery{Job: job}); got != (Settlement{Delay: time.Minute}) {
			t.Errorf("settlement %+v, want a delay until it expires", got)
		}
		pass(time.Minute)
		run(t, r, Delivery{Job: job})
		if rec := p.record(t, job.ID); rec.Outcome != OutcomeExhausted || p.api.made() != 0 {
			t.Errorf("outcome %q after %d calls", rec.Outcome, p.api.made())
		}
	})
}
