package jobs

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// pausing is a recorder that lets something happen when a job is recorded as finished and not
// announced yet.
type pausing struct {
	*counts
	act func()
}

func (p pausing) JobFinished(kind, outcome string, d time.Duration, trace string) {
	p.counts.JobFinished(kind, outcome, d, trace)
	p.act()
}

// TestPausedBeforeTheAnnouncement: a worker that stood still between its record and the
// result finds that another one has announced it meanwhile, also when that is so long ago
// that the streams have forgotten.
func TestPausedBeforeTheAnnouncement(t *testing.T) {
	for _, pause := range []time.Duration{0, announceFresh + 1, settlePatience, time.Hour} {
		t.Run(pause.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				job := p.acceptJob(t, jwksEvent(t, 1))
				job.Message = 7
				delay := func() {
					if pause == 0 {
						return
					}
					pass(pause)
					if v := run(t, p.runner(t, "w2"), Delivery{Job: job, Count: 2}); !v.Done {
						t.Errorf("the other worker: %+v", v)
					}
				}
				w1 := p.runner(t, "w1", func(c *RunnerConfig) { c.Recorder = pausing{p.recorder, delay} })
				deliverUntilDone(t, w1, job)
				if last := p.announce[len(p.announce)-1]; last.Again != (pause > 0) || len(p.results) != 1 || p.api.made() != 1 {
					t.Errorf("announced %+v, %d results, %d calls", p.announce, len(p.results), p.api.made())
				}
			})
		})
	}
}

// TestOneMessageAnswersForTheResult: of a job with two messages, the one that ended it stays
// in the queue until the result is out; the other one is forgotten without a search. How
// often a message was handed over plays no part: a queue that crashes forgets it.
func TestOneMessageAnswersForTheResult(t *testing.T) {
	for _, kind := range faultKinds() {
		for _, count := range []uint64{1, 2} {
			t.Run(fmt.Sprintf("%s/delivery %d", kind, count), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPlant(works)
					job := p.acceptJob(t, jwksEvent(t, 1, inLane(LaneBulk)))
					p.accept(t, jwksEvent(t, 2)) // Lifts it: there are two messages.
					first, second := job, job
					first.Message, second.Message = 7, 8
					p.steps = nil
					p.failing = dieAt(2, lostAnswer) // The worker dies when the end is recorded.
					if v, err := p.runner(t, "w1").Run(t.Context(), Delivery{Job: first, Count: 1}); err == nil {
						t.Fatalf("the worker did not die: %+v", v)
					}
					p.failing = nil
					p.failStep(len(p.steps)+1, kind) // The next announcement.
					if v := run(t, p.runner(t, "w2"), Delivery{Job: second, Count: count}); !v.Done || len(p.results) != 0 {
						t.Errorf("the other message: %+v, %d results", v, len(p.results))
					}
					w3 := p.runner(t, "w3")
					for delivery := range 10 {
						if v, err := w3.Run(t.Context(), Delivery{Job: first, Count: count + uint64(delivery)}); err == nil && v.Done {
							break
						}
						pass(time.Hour)
					}
					if len(p.results) != 1 || p.api.made() != 1 {
						t.Errorf("%d results, %d calls; announced %+v", len(p.results), p.api.made(), p.announce)
					}
				})
			})
		}
	}
}

// TestMessageOfAJoinedEvent: a job that was queued, and whose intake was cut off before its
// record, is not run when its event joined another job since.
func TestMessageOfAJoinedEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		lost := jwksEvent(t, 1)
		p.failNamed("ledger.create", lostRequest)
		if _, err := p.intake.Accept(t.Context(), lost); err == nil {
			t.Fatal("the intake was not cut off")
		}
		p.failing = nil
		pass(creationTimeout)
		other := p.accept(t, jwksEvent(t, 2))
		if got := p.accept(t, lost); got.JobID != other.JobID {
			t.Fatalf("the event came to %+v", got)
		}
		p.drain(t, p.runner(t, "w1"), 0)
		if p.api.made() != 1 || len(p.results) != 1 || len(p.jobIDs()) != 1 {
			t.Errorf("%d calls, %d results, jobs %v", p.api.made(), len(p.results), p.jobIDs())
		}
	})
}

// TestReplayedEventQueuesItsJob: an event that the server gave up between the job's record and
// its message comes in another message, and that one queues the job.
func TestReplayedEventQueuesItsJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		p.failNamed("queue.enqueue", lostRequest)
		if _, err := p.intake.Accept(t.Context(), jwksEvent(t, 1)); err == nil {
			t.Fatal("the intake was not cut off")
		}
		p.failing = nil
		p.accept(t, jwksEvent(t, 1, func(e *Event) { e.Seq, e.Replayed = 99, true }))
		p.drain(t, p.runner(t, "w1"), 0)
		if p.api.made() != 1 || len(p.results) != 1 {
			t.Errorf("%d calls, %d results", p.api.made(), len(p.results))
		}
	})
}

// TestWakeWithoutRecord: a message that only wakes is forgotten when there is no job to wake, and
// not at the first look: a replica may lag.
func TestWakeWithoutRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := newJob(jwksEvent(t, 1), "security")
		job.Wake, job.Params = true, Params{}
		r := p.runner(t, "w1")
		if v, err := r.Run(t.Context(), Delivery{Job: job, Count: 1}); v.Done || !errors.Is(err, ErrNotFound) {
			t.Errorf("at first: settlement %+v, error %v", v, err)
		}
		if v := run(t, r, Delivery{Job: job, Count: wakePolls + 1}); !v.Done || len(p.jobIDs()) != 0 {
			t.Errorf("at last: settlement %+v, jobs %v", v, p.jobIDs())
		}
	})
}

// lagging is a ledger whose reads come from a replica that has nothing yet, for so many times.
type lagging struct {
	Ledger
	left int
}

func (l *lagging) Load(ctx context.Context, id string) (Entry, error) {
	if l.left > 0 {
		l.left--
		return Entry{}, ErrNotFound
	}
	return l.Ledger.Load(ctx, id)
}

// TestReadsThatLag: a record that one replica does not have yet is no missing record. Nothing is
// settled for it, and the job runs once.
func TestReadsThatLag(t *testing.T) {
	for left := range 6 {
		t.Run(fmt.Sprint(left, " reads"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				job := p.acceptJob(t, jwksEvent(t, 1))
				lag := &lagging{Ledger: memoryLedger{p.memory}, left: left}
				deliverUntilDone(t, p.runner(t, "w1", func(c *RunnerConfig) { c.Ledger = lag }), job)
				if r := p.record(t, job.ID); r.Outcome != OutcomeRevoked || p.api.made() != 1 || len(p.results) != 1 {
					t.Errorf("%s %s, %d calls, %d results", r.State, r.Outcome, p.api.made(), len(p.results))
				}
			})
		})
	}
}
