package jobs

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/kinds"
)

// handOver hands event 1 over as the bus does to a worker with a free slot, and reports whether the event is settled then. A server
// that was killed says of each delivery that it is the first.
func (p *plant) handOver(t *testing.T, r *Runner) bool {
	t.Helper()
	var opened Opened
	e := jwksEvent(t, 1, func(e *Event) {
		e.New, e.Start = true, func(o Opened) bool { opened = o; return true }
	})
	accepted, err := p.newIntake().Accept(t.Context(), e)
	if err != nil || !accepted.Started {
		return err == nil
	}
	v, err := r.Begin(t.Context(), opened)
	if err == nil && !v.Done && !v.Leave {
		pass(v.Delay)
	}
	return err == nil && v.Done
}

// workOff runs what is in the queue until an error or the end, and reports whether it came to the end.
func (p *plant) workOff(t *testing.T, r *Runner) bool {
	t.Helper()
	for i := range len(p.queue) {
		job := p.queue[i]
		job.Message = uint64(i + 1)
		for n := 0; ; n++ {
			v, err := r.Run(t.Context(), Delivery{Job: job})
			if err != nil || n == 100 {
				return false
			}
			if v.Done {
				break
			}
			pass(v.Delay)
		}
	}
	return true
}

// beginSteps counts the steps of a scene whose job is begun by its event, without a fault.
func (s runScene) beginSteps(t *testing.T) (n int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(s.answers...)
		if r := p.runner(t, "w1"); !p.handOver(t, r) || !p.workOff(t, r) {
			t.Fatal("the job does not end")
		}
		n = len(p.steps)
	})
	return n
}

// TestBegunByItsEvent: a new job is begun without a message. What needs another attempt is queued.
func TestBegunByItsEvent(t *testing.T) {
	for _, scene := range runScenes() {
		t.Run(scene.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(scene.answers...)
				r := p.runner(t, "w1")
				if !p.handOver(t, r) {
					t.Fatal("the event is not settled")
				}
				if want := scene.wantCalls - 1; len(p.queue) != want {
					t.Errorf("queued %d times, want %d", len(p.queue), want)
				}
				if !p.workOff(t, r) {
					t.Error("the job does not end")
				}
				scene.checkUndisturbed(t, p, p.record(t, p.jobIDs()[0]))
				checkCount(t, p, "enqueued jwks.revoke urgent event", 1)
			})
		})
	}
}

// TestBeginSurvivesCrash lets a worker die before and after each step from the intake of an event to the end of its job, which was begun
// by the event. What was not settled is handed to another worker, and the event in any case.
func TestBeginSurvivesCrash(t *testing.T) {
	for _, scene := range runScenes() {
		for n := range scene.beginSteps(t) {
			for _, kind := range faultKinds() {
				t.Run(fmt.Sprintf("%s/step %d %s", scene.name, n, kind), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p := newPlant(scene.answers...)
						p.failing = dieAt(n, kind)
						w1, w2 := p.runner(t, "w1"), p.runner(t, "w2")
						if p.handOver(t, w1) {
							p.workOff(t, w1)
						}
						p.failing = nil
						pass(30 * time.Second)
						for deliveries := 0; !p.handOver(t, w2); deliveries++ {
							if deliveries == 100 {
								t.Fatal("the event is not settled")
							}
							pass(time.Second)
						}
						if !p.workOff(t, w2) {
							t.Fatal("the job does not end")
						}
						r := p.record(t, p.jobIDs()[0])
						scene.checkEnd(t, p, r)
						extra := p.api.made() - scene.wantCalls
						if extra < 0 || extra > 1 || r.AttemptsMaybeEffective < scene.wantEffected+extra {
							t.Errorf("%d calls more than needed, %d attempts maybe effective", extra, r.AttemptsMaybeEffective)
						}
						if r.AttemptsSpent > scene.wantSpent || r.AttemptCount < p.api.made() {
							t.Errorf("%d spent, %d attempts, %d calls", r.AttemptsSpent, r.AttemptCount, p.api.made())
						}
					})
				})
			}
		}
	}
}

// TestBeginSurvivesLostStep loses the request or the answer of each step once: one call, one end, one result all the same.
func TestBeginSurvivesLostStep(t *testing.T) {
	for _, scene := range runScenes() {
		for n := range scene.beginSteps(t) {
			for _, kind := range faultKinds() {
				t.Run(fmt.Sprintf("%s/step %d %s", scene.name, n, kind), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p := newPlant(scene.answers...)
						p.failStep(n, kind)
						w := p.runner(t, "w1")
						for deliveries := 0; !p.handOver(t, w) || !p.workOff(t, w); deliveries++ {
							if deliveries == 100 {
								t.Fatal("the job does not end")
							}
							pass(time.Second)
						}
						scene.checkUndisturbed(t, p, p.record(t, p.jobIDs()[0]))
					})
				})
			}
		}
	}
}

// TestBeginYields: what is not certain to be the job's turn is not called for.
func TestBeginYields(t *testing.T) {
	tests := []struct {
		name       string
		prepare    func(t *testing.T, p *plant, j Job)
		event      func(e *Event)
		taken      time.Duration // So long ago the target was taken.
		want       Settlement
		wantQueued int
	}{
		{
			name: "the rate bucket is empty", prepare: func(_ *testing.T, p *plant, _ Job) { p.pacer.until = time.Now().Add(time.Minute) },
			want: Settlement{Done: true, Queued: true}, wantQueued: 1,
		},
		{
			name: "a copy of the event has made the record", prepare: func(t *testing.T, p *plant, j Job) { t.Helper(); p.put(t, NewRecord(j)) },
		},
		{
			name: "the same, and the rate bucket is empty", wantQueued: 1,
			prepare: func(t *testing.T, p *plant, j Job) {
				t.Helper()
				p.put(t, NewRecord(j))
				p.pacer.until = time.Now().Add(time.Minute)
			},
		},
		{name: "the worker was paused", prepare: func(*testing.T, *plant, Job) {}, taken: creationTimeout},
		{
			name: "the event is too old", prepare: func(*testing.T, *plant, Job) {}, event: func(e *Event) { e.At = time.Now().Add(-policy().MaxAge) },
			want: Settlement{Done: true, Queued: true}, wantQueued: 1,
		},
		{
			name: "it has expired", prepare: func(*testing.T, *plant, Job) {}, event: func(e *Event) { e.Request.ExpiresAt = time.Now() },
			want: Settlement{Done: true, Queued: true}, wantQueued: 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				change := tt.event
				if change == nil {
					change = func(*Event) {}
				}
				job, recorded := newJob(jwksEvent(t, 1, change), "security"), 0
				tt.prepare(t, p, job)
				v, err := p.runner(t, "w1").Begin(t.Context(), Opened{Job: job, Taken: time.Now().Add(-tt.taken), Recorded: func() { recorded++ }})
				if v != tt.want || err != nil || p.api.made() != 0 || len(p.queue) != tt.wantQueued || recorded != 1 {
					t.Errorf("settlement %+v, error %v, %d calls, queued %d times, recorded %d times", v, err, p.api.made(), len(p.queue), recorded)
				}
			})
		})
	}
}

// TestEventsThatAreNotBegun: an event that has more to it than one job settles nothing.
func TestEventsThatAreNotBegun(t *testing.T) {
	offered := func(t *testing.T, change func(*Event)) bool {
		t.Helper()
		p, asked := newPlant(works), false
		e := jwksEvent(t, 1, func(e *Event) {
			e.New, e.Start = true, func(Opened) bool { asked = true; return false }
		}, change)
		p.accept(t, e)
		if len(p.queue) != 1 {
			t.Errorf("queued %d times", len(p.queue))
		}
		return asked
	}
	for name, tt := range map[string]struct {
		change func(*Event)
		want   bool
	}{
		"new":            {func(*Event) {}, true},
		"redelivered":    {func(e *Event) { e.New = false }, false},
		"replayed":       {func(e *Event) { e.Replayed = true }, false},
		"no kind is fit": {func(e *Event) { e.Request.Unfit = "nothing takes it away" }, false},
		"it rotates": {func(e *Event) {
			e.Request.Kind = kinds.ServiceAccountSecretRotate
			e.Request.Params = mustParams(t, e.Request.Kind, map[string]any{kinds.ParamRotation: "ci"})
		}, false},
	} {
		if got := offered(t, tt.change); got != tt.want {
			t.Errorf("%s: offered %t", name, got)
		}
	}
}

// TestOthersWaitUntilBegun: another event about the target waits until the slot has recorded the job, and joins it then.
func TestOthersWaitUntilBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(takes(time.Second, works))
		intake := p.newIntake()
		var opened Opened
		first := jwksEvent(t, 1, func(e *Event) { e.New, e.Start = true, func(o Opened) bool { opened = o; return true } })
		if accepted, err := intake.Accept(t.Context(), first); err != nil || !accepted.Started {
			t.Fatalf("accepted %+v, error %v", accepted, err)
		}
		joined := make(chan Accepted, 1)
		go func() {
			accepted, err := intake.Accept(t.Context(), jwksEvent(t, 2, func(e *Event) { e.New = true }))
			if err != nil {
				t.Error(err)
			}
			joined <- accepted
		}()
		synctest.Wait()
		if len(joined) > 0 {
			t.Fatal("it does not wait")
		}
		if v, err := p.runner(t, "w1").Begin(t.Context(), opened); err != nil || !v.Done {
			t.Fatalf("settlement %+v, error %v", v, err)
		}
		if second := <-joined; second.Result != EventDuplicate || second.JobID != opened.Job.ID || len(p.jobIDs()) != 1 || len(p.queue) != 0 {
			t.Errorf("the other event is %+v; there are jobs %v, and %d messages", second, p.jobIDs(), len(p.queue))
		}
	})
}

// TestQueuedMeanwhile lets a worker die at each step of a job that is queued while a slot runs it by its event, which is settled then: the
// message alone answers for the job.
func TestQueuedMeanwhile(t *testing.T) {
	for _, scene := range runScenes() {
		for n := range scene.beginSteps(t) {
			for _, kind := range faultKinds() {
				t.Run(fmt.Sprintf("%s/step %d %s", scene.name, n, kind), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p := newPlant(scene.answers...)
						var opened Opened
						p.accept(t, jwksEvent(t, 1, func(e *Event) {
							e.New, e.Start = true, func(o Opened) bool { opened = o; return true }
						}))
						if err := p.Enqueue(t.Context(), opened.Job); err != nil {
							t.Fatal(err)
						}
						p.failing = dieAt(len(p.steps)+n, kind)
						v, err := p.runner(t, "w1").Begin(t.Context(), opened)
						p.failing = nil
						pass(30 * time.Second)
						if !p.workOff(t, p.runner(t, "w2")) {
							t.Fatal("the job does not end")
						}
						scene.checkEnd(t, p, p.record(t, opened.Job.ID))
						if extra := p.api.made() - scene.wantCalls; extra < 0 || extra > 1 {
							t.Errorf("%d calls more than needed (settlement %+v, error %v)", extra, v, err)
						}
					})
				})
			}
		}
	}
}
