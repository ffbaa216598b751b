package jobs

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// intakeScene is a state of the world into which an event comes, and what must have come
// of it whatever is cut off on the way.
type intakeScene struct {
	name    string
	prepare func(t *testing.T, p *plant)
	event   func(*Event) // Changes event 9.

	wantJobs   int  // Records in all.
	wantJoined bool // Whether event 9 joins another job.
	wantQueued Lane // The lane of its job in the queue.
	wantTwo    bool // Whether another event that comes meanwhile may have a job of its own.
}

func intakeScenes() []intakeScene {
	first := func(outcome Outcome) func(*testing.T, *plant) {
		return func(t *testing.T, p *plant) {
			t.Helper()
			accepted := p.accept(t, jwksEvent(t, 1, inLane(LaneNormal)))
			if outcome != "" {
				p.end(t, accepted.JobID, outcome)
			}
		}
	}
	scenes := []intakeScene{
		{name: "first event", prepare: func(*testing.T, *plant) {}, wantJobs: 1, wantQueued: LaneUrgent},
		{name: "join", prepare: first(""), event: inLane(LaneNormal), wantJobs: 1, wantJoined: true, wantQueued: LaneNormal},
		{name: "join and lift", prepare: first(""), wantJobs: 1, wantJoined: true, wantQueued: LaneUrgent},
		{name: "coalesce: false", prepare: first(""), event: separately, wantJobs: 2, wantQueued: LaneUrgent, wantTwo: true},
		{name: "target revoked before", prepare: first(OutcomeRevoked), wantJobs: 2, wantQueued: LaneUrgent},
		{
			name: "two jobs on the target before",
			prepare: func(t *testing.T, p *plant) {
				t.Helper()
				first("")(t, p)
				p.end(t, p.accept(t, jwksEvent(t, 2, separately)).JobID, OutcomeRefused)
			},
			wantJobs: 2, wantJoined: true, wantQueued: LaneUrgent,
		},
	}
	for _, s := range scenes { // A server that was killed hands each of them over as new, however often it did so before.
		change := s.event
		s.name, s.event = s.name+", new", func(e *Event) {
			e.New = true
			if change != nil {
				change(e)
			}
		}
		scenes = append(scenes, s)
	}
	return scenes
}

// deliver hands event 9 over as the bus does, until it is taken in.
func (s intakeScene) deliver(t *testing.T, p *plant, deliveries int) Accepted {
	t.Helper()
	for ; deliveries < 100; deliveries++ {
		if accepted, err := p.intake.Accept(t.Context(), s.nine(t)); err == nil {
			return accepted
		}
		pass(time.Second)
	}
	t.Error("the event is not taken in after 100 deliveries") // Not Fatal: this may run in any goroutine.
	return Accepted{}
}

func (s intakeScene) nine(t *testing.T) Event {
	t.Helper()
	e := jwksEvent(t, 9)
	if s.event != nil {
		s.event(&e)
	}
	return e
}

// copied is the same event in another message.
func (s intakeScene) copied(t *testing.T, seq uint64) Event {
	t.Helper()
	e := s.nine(t)
	e.Seq = seq
	return e
}

func (s intakeScene) check(t *testing.T, p *plant, got Accepted) {
	t.Helper()
	if len(p.jobIDs()) != s.wantJobs {
		t.Errorf("jobs %v, want %d", p.jobIDs(), s.wantJobs)
	}
	own := newJob(s.nine(t), "security").ID
	if joined := got.JobID != own; joined != s.wantJoined {
		t.Errorf("the event came to job %s", got.JobID)
	}
	r := p.record(t, got.JobID)
	wantEvents := 1
	if s.wantJoined {
		wantEvents = 2
	}
	if !r.HasEvent(s.nine(t).EventRef) || r.EventCount != wantEvents || len(r.Events) != wantEvents {
		t.Errorf("events on the record: %+v", r.Events)
	}
	queued := p.queued(got.JobID)
	if len(queued) == 0 || queued[len(queued)-1].Lane != s.wantQueued || r.Lane != s.wantQueued {
		t.Errorf("lane %s, queue %+v, want %s", r.Lane, queued, s.wantQueued)
	}
	if got := p.accept(t, s.copied(t, 100)); got.Result != EventDuplicate || got.JobID != r.JobID {
		t.Errorf("a copy afterwards: %+v", got)
	}
}

// steps counts the steps of a scene without a fault.
func (s intakeScene) steps(t *testing.T) int {
	t.Helper()
	p := newPlant(works)
	s.prepare(t, p)
	p.memory.steps = nil
	s.deliver(t, p, 0)
	return len(p.memory.steps)
}

// TestIntakeSurvives cuts an intake off before and after each of its steps. The event
// is redelivered and must end in exactly one job: in the queue, with one record.
func TestIntakeSurvives(t *testing.T) {
	for _, scene := range intakeScenes() {
		for n := range scene.steps(t) {
			for _, kind := range faultKinds() {
				t.Run(fmt.Sprintf("%s/step %d %s", scene.name, n, kind), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p := newPlant(works)
						scene.prepare(t, p)
						p.memory.steps = nil
						p.failStep(n, kind)
						if _, err := p.intake.Accept(t.Context(), scene.nine(t)); err == nil {
							t.Fatal("the fault was not noticed")
						}
						scene.check(t, p, scene.deliver(t, p, 1))
					})
				})
			}
		}
	}
}

// TestIntakeSurvivesTwice cuts the first delivery off, and the second one as well.
func TestIntakeSurvivesTwice(t *testing.T) {
	for _, scene := range intakeScenes() {
		steps := scene.steps(t)
		for n := range steps * steps {
			for _, kind := range faultKinds() {
				t.Run(fmt.Sprintf("%s/steps %d and %d %s", scene.name, n/steps, n%steps, kind), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p := newPlant(works)
						scene.prepare(t, p)
						for _, at := range []int{n / steps, n % steps} {
							p.memory.steps = nil
							p.failStep(at, kind)
							// The second delivery may have fewer steps left and come through.
							if _, err := p.intake.Accept(t.Context(), scene.nine(t)); err != nil {
								pass(time.Second)
							}
						}
						p.failing = nil
						scene.check(t, p, scene.deliver(t, p, 2))
					})
				})
			}
		}
	}
}

// TestIntakeSurvivesWithCopies lets a copy of the event, and another event for the same
// target, come in between the cut-off delivery and the next one.
func TestIntakeSurvivesWithCopies(t *testing.T) {
	for _, scene := range intakeScenes() {
		for n := range scene.steps(t) {
			for _, kind := range faultKinds() {
				t.Run(fmt.Sprintf("%s/step %d %s", scene.name, n, kind), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p := newPlant(works)
						scene.prepare(t, p)
						p.memory.steps = nil
						p.failStep(n, kind)
						if _, err := p.intake.Accept(t.Context(), scene.nine(t)); err == nil {
							t.Fatal("the fault was not noticed")
						}
						p.accept(t, scene.copied(t, 99))
						scene.check(t, p, scene.deliver(t, p, 1))
						other := p.accept(t, jwksEvent(t, 10))
						if other.Result != EventDuplicate || len(p.jobIDs()) != scene.wantJobs {
							t.Errorf("another event made job %+v", other)
						}
					})
				})
			}
		}
	}
}

// TestIntakeOvertaken lets another event take the target, or its job end, at each step of
// an intake: one of the two makes the job, and no event is without one.
func TestIntakeOvertaken(t *testing.T) {
	for _, scene := range intakeScenes() {
		for n := range scene.steps(t) {
			t.Run(fmt.Sprintf("%s/step %d", scene.name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPlant(works)
					scene.prepare(t, p)
					p.memory.steps = nil
					// The other intake goes on when this one is before its n-th step.
					reached, resume := make(chan struct{}), make(chan struct{})
					var held atomic.Bool // An intake makes two of its steps at once.
					p.memory.before = func(at int) {
						if at == n && held.CompareAndSwap(false, true) {
							close(reached)
							<-resume
						}
					}
					var nine Accepted
					finished := make(chan struct{})
					go func() {
						defer close(finished)
						nine = scene.deliver(t, p, 0)
					}()
					<-reached
					ten, err := p.newIntake().Accept(t.Context(), jwksEvent(t, 10))
					close(resume)
					<-finished
					if err != nil {
						ten = p.accept(t, jwksEvent(t, 10))
					}
					for seq, accepted := range map[uint64]Accepted{9: nine, 10: ten} {
						if r := p.record(t, accepted.JobID); !r.HasEvent(jwksEvent(t, seq).EventRef) {
							t.Errorf("event %d is not on the record of its job: %+v", seq, r.Events)
						}
						if len(p.queued(accepted.JobID)) == 0 {
							t.Errorf("the job of event %d is not in the queue", seq)
						}
					}
					if nine.JobID != ten.JobID && !scene.wantTwo {
						t.Errorf("two jobs: %s and %s", nine.JobID, ten.JobID)
					}
				})
			})
		}
	}
}
