package bus

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/jobs"
)

// offering is a desk that offers the job of each event, and waits until the test has done so.
type offering struct {
	desk
	events chan jobs.Event
	had    chan bool // Whether a slot has it.
}

// begins runs intake and workers, whose slots run the jobs of events.
func (r *rig) begins(t *testing.T, run *runner, secrets jobs.Secrets, queueAfter time.Duration) (*offering, *Workers) {
	t.Helper()
	w := r.workers(run, 2)
	w.QueueAfter = queueAfter
	_, _, _ = start(t, w)
	o := &offering{events: make(chan jobs.Event), had: make(chan bool)}
	o.accept = func(_ context.Context, e jobs.Event) (jobs.Accepted, error) {
		o.events <- e
		return jobs.Accepted{Result: jobs.EventAccepted, Started: <-o.had}, nil
	}
	in := r.intake(&o.desk, &counter{})
	in.Slots, in.Secrets = w, secrets
	background(t, in.Run)
	return o, w
}

// offer offers a job until a slot that is free has it.
func (o *offering) offer(t *testing.T, e jobs.Event, job jobs.Job) {
	t.Helper()
	eventually(t, "a slot has the job", func() bool { return e.Start(jobs.Opened{Job: job, Taken: time.Now(), Recorded: func() {}}) })
	o.had <- true
}

// TestEventsBeginJobs: a slot that is free runs the job of an event, which it settles when the job is done. Nothing is queued.
func TestEventsBeginJobs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	begun, release := make(chan jobs.Delivery), make(chan struct{})
	run := &runner{run: func(_ context.Context, d jobs.Delivery) (jobs.Settlement, error) {
		begun <- d
		<-release
		return jobs.Settlement{Done: true}, nil
	}}
	o, w := r.begins(t, run, jobs.Secrets{}, 0)
	r.publish(t, jobs.ClassRotation, plain, nil)
	job := newTokenJob(t, "job1", canary)
	o.offer(t, receive(t, "the event", o.events), job)
	if d := receive(t, "the job", begun); d.Job.ID != "job1" || d.Job.Message != 0 || d.Job.Params.Secret("token").Reveal() != canary {
		t.Errorf("begun %+v", d)
	}
	if r.settled(t) || w.Running() != 1 {
		t.Errorf("the event is settled, or the job does not run (%d run)", w.Running())
	}
	close(release)
	eventually(t, "the event is settled", func() bool { return r.settled(t) })
	eventually(t, "the slot is free", func() bool { return w.Running() == 0 && w.Queued() == 0 })
	if n := r.stored(t, r.names.Jobs()); n != 0 {
		t.Errorf("%d jobs are queued", n)
	}
}

// TestSlowJobsAreQueued: a job whose call takes long does not keep its event: it is queued meanwhile. Its message finds it running.
func TestSlowJobsAreQueued(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	release := make(chan struct{})
	var once sync.Once
	again := make(chan jobs.Delivery, 10)
	run := &runner{run: func(_ context.Context, d jobs.Delivery) (jobs.Settlement, error) {
		first := false
		once.Do(func() { first = true })
		if first {
			<-release
		} else {
			again <- d
		}
		return jobs.Settlement{Done: true}, nil
	}}
	o, w := r.begins(t, run, jobs.Secrets{}, time.Millisecond)
	r.publish(t, jobs.ClassRotation, plain, nil)
	o.offer(t, receive(t, "the event", o.events), newJob(t, "job1", jobs.LaneNormal))
	if d := receive(t, "the job's message", again); d.Job.ID != "job1" || d.Job.Message == 0 {
		t.Errorf("the message is %+v", d)
	}
	eventually(t, "the event is settled", func() bool { return r.settled(t) })
	eventually(t, "the running job counts as queued", func() bool { return w.Running() == 1 && w.Queued() == 1 })
	close(release)
	eventually(t, "the slot is free", func() bool { return w.Running() == 0 && w.Queued() == 0 })
}

// TestEventsAreRedelivered: an event whose job did not come to an end is redelivered, and known as such.
func TestEventsAreRedelivered(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{"failed": errors.New("the ledger does not answer"), "yielded": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			run := &runner{run: func(context.Context, jobs.Delivery) (jobs.Settlement, error) { return jobs.Settlement{}, err }}
			o, _ := r.begins(t, run, jobs.Secrets{}, 0)
			seq := r.publish(t, jobs.ClassRotation, plain, nil)
			o.offer(t, receive(t, "the event", o.events), newJob(t, "job1", jobs.LaneNormal))
			e := receive(t, "the event once more", o.events)
			if e.Seq != seq || e.New || e.Start != nil {
				t.Errorf("event %d is new: %t", e.Seq, e.New)
			}
			o.had <- false
			eventually(t, "the event is settled", func() bool { return r.settled(t) })
		})
	}
}

// TestErasedEventsBeginNothing: an event that is erased cannot answer for a job.
func TestErasedEventsBeginNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		event string
		want  bool
	}{
		{"without a secret", plain, true},
		{"with one", `{"kind":"token.revoke","params":{"token":"` + webToken + `"}}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			o, _ := r.begins(t, &runner{}, sealing(jobs.PlaintextSeal), 0)
			r.publish(t, jobs.ClassRotation, tt.event, nil)
			e := receive(t, "the event", o.events)
			if can := e.Start != nil; can != tt.want {
				t.Errorf("it can begin its job: %t", can)
			}
			o.had <- false
			eventually(t, "the event is settled", func() bool { return r.settled(t) })
		})
	}
}

// TestEventsWaitForASlot: an event waits while slots become free, and no longer than is good for those who look for its job.
func TestEventsWaitForASlot(t *testing.T) {
	t.Parallel()
	never := 10 * time.Second
	tests := []struct {
		name                   string
		slot, turn, stop, wait time.Duration // When a slot takes it, how often one becomes free, when the worker stops; and how long it waited.
		want                   bool
	}{
		{"a slot becomes free", 50 * time.Millisecond, never, never, 50 * time.Millisecond, true},
		{"one of many turns is its own", 900 * time.Millisecond, 90 * time.Millisecond, never, 900 * time.Millisecond, true},
		{"all turns are of others", never, 90 * time.Millisecond, never, offerMost, false},
		{"no slot becomes free", never, never, never, offerPause, false},
		{"the worker stops", never, never, 20 * time.Millisecond, 20 * time.Millisecond, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, slots, stopping, begun := &Workers{}, make(chan *delivery), make(chan struct{}), time.Now()
				defer time.AfterFunc(tt.stop, func() { close(stopping) }).Stop()
				turns := time.NewTicker(tt.turn)
				defer turns.Stop()
				over := make(chan struct{})
				go func() {
					slot := time.NewTimer(tt.slot)
					defer slot.Stop()
					for {
						select {
						case <-over:
							return
						case <-turns.C:
							w.turns.Add(1)
						case <-slot.C:
							<-slots
						}
					}
				}()
				got := w.awaitSlot(slots, &delivery{}, stopping)
				close(over)
				if waited := time.Since(begun); got != tt.want || waited != tt.wait {
					t.Errorf("a slot has it: %t, after %s; want %t after %s", got, waited, tt.want, tt.wait)
				}
			})
		})
	}
}

// TestEventsGoByTheirLane: a slot takes the event of a more urgent lane before queued jobs, and queued jobs of its own lane before it.
func TestEventsGoByTheirLane(t *testing.T) {
	t.Parallel()
	w := &Workers{pullers: map[jobs.Lane]*puller{}, offers: map[jobs.Lane]chan *delivery{}}
	for _, lane := range jobs.Lanes() {
		w.pullers[lane] = &puller{out: make(chan *delivery, 1), taken: make(chan struct{}, 1)}
		w.offers[lane] = make(chan *delivery, 1)
	}
	all := map[string]*delivery{}
	add := func(name string, to chan<- *delivery, p *puller, opened *jobs.Opened) {
		all[name] = &delivery{puller: p, opened: opened}
		to <- all[name]
	}
	normal, bulk := w.pullers[jobs.LaneNormal], w.pullers[jobs.LaneBulk]
	add("queued, bulk", bulk.out, bulk, nil)
	add("queued, normal", normal.out, normal, nil)
	add("event, normal", w.offers[jobs.LaneNormal], nil, &jobs.Opened{})
	add("event, urgent", w.offers[jobs.LaneUrgent], nil, &jobs.Opened{})
	for _, want := range []string{"event, urgent", "queued, normal", "event, normal", "queued, bulk"} {
		if got, ok := w.next(t.Context(), false); !ok || got != all[want] {
			t.Errorf("the slot does not take %q", want)
		}
	}
}
