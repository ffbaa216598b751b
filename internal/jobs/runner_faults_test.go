package jobs

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// runScene is a job whose run is disturbed, and how it ends when it is not.
type runScene struct {
	name         string
	answers      []func(context.Context, Job) (Answer, error)
	wantCalls    int
	wantOutcome  Outcome
	wantSpent    int
	wantEffected int // Attempts that may have taken effect.
}

func runScenes() []runScene {
	limited := fails(Failure{Reason: ReasonRateLimited})
	return []runScene{
		{
			name: "works", answers: []func(context.Context, Job) (Answer, error){takes(28*time.Second, works)},
			wantCalls: 1, wantOutcome: OutcomeRevoked, wantSpent: 1, wantEffected: 1,
		},
		{
			name: "works at last", answers: []func(context.Context, Job) (Answer, error){limited, takes(time.Second, works)},
			wantCalls: 2, wantOutcome: OutcomeRevoked, wantSpent: 1, wantEffected: 1,
		},
		{
			name: "refused", answers: []func(context.Context, Job) (Answer, error){fails(Failure{Reason: ReasonForbidden})},
			wantCalls: 1, wantOutcome: OutcomeRefused, wantSpent: 1,
		},
	}
}

// steps counts the steps of a scene without a fault, from the first delivery on.
func (s runScene) steps(t *testing.T) (n int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(s.answers...)
		job := p.acceptJob(t, jwksEvent(t, 1))
		p.steps = nil
		deliverUntilDone(t, p.runner(t, "w1"), job)
		n = len(p.steps)
	})
	return n
}

// disturb runs a scene with faults and returns the plant and the job's record.
func (s runScene) disturb(t *testing.T, faults func(start time.Time) func(n int, step string) faultKind) (*plant, Record) {
	t.Helper()
	p := newPlant(s.answers...)
	job := p.acceptJob(t, jwksEvent(t, 1))
	p.steps = nil
	p.failing = faults(time.Now())
	deliverUntilDone(t, p.runner(t, "w1"), job)
	r := p.record(t, job.ID)
	return p, r
}

// checkUndisturbed holds that a job ran as if nothing had happened.
func (s runScene) checkUndisturbed(t *testing.T, p *plant, r Record) {
	t.Helper()
	if p.api.made() != s.wantCalls || r.AttemptCount != s.wantCalls || r.AttemptsSpent != s.wantSpent || r.AttemptsMaybeEffective != s.wantEffected {
		t.Errorf("%d calls, %d attempts, %d spent, %d maybe effective", p.api.made(), r.AttemptCount, r.AttemptsSpent, r.AttemptsMaybeEffective)
	}
	s.checkEnd(t, p, r)
	checkCount(t, p, "finished jwks.revoke "+string(s.wantOutcome), 1)
	if got := p.logs.FilterMessage("job finished").Len(); got != 1 {
		t.Errorf("%d Info lines", got)
	}
}

// checkEnd holds what is true whatever happened: one end, one result.
func (s runScene) checkEnd(t *testing.T, p *plant, r Record) {
	t.Helper()
	if r.Outcome != s.wantOutcome || len(p.results) != 1 || p.results[0].Outcome != s.wantOutcome || len(p.jobIDs()) != 1 {
		t.Errorf("outcome %s, results %+v, jobs %v", r.Outcome, p.results, p.jobIDs())
	}
}

// TestRunSurvivesLostStep loses the request or the answer of each step once: one call, one
// end, one result all the same.
func TestRunSurvivesLostStep(t *testing.T) {
	for _, scene := range runScenes() {
		for n := range scene.steps(t) {
			for _, kind := range faultKinds() {
				t.Run(fmt.Sprintf("%s/step %d %s", scene.name, n, kind), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p, r := scene.disturb(t, func(time.Time) func(int, string) faultKind {
							return func(at int, _ string) faultKind {
								if at == n {
									return kind
								}
								return ""
							}
						})
						scene.checkUndisturbed(t, p, r)
					})
				})
			}
		}
	}
}

// TestRunSurvivesLosingEverySecondStep loses every second load, write and announcement.
func TestRunSurvivesLosingEverySecondStep(t *testing.T) {
	for _, scene := range runScenes() {
		for _, kind := range faultKinds() {
			for parity := range 2 {
				t.Run(fmt.Sprintf("%s/%s %d", scene.name, kind, parity), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p, r := scene.disturb(t, func(time.Time) func(int, string) faultKind {
							times := map[string]int{}
							return func(_ int, step string) faultKind {
								times[step]++
								if times[step]%2 == parity {
									return kind
								}
								return ""
							}
						})
						scene.checkUndisturbed(t, p, r)
					})
				})
			}
		}
	}
}

// TestRunSurvivesOutage lets the ledger refuse everything for a while, from each second on:
// a new leader is being chosen. Nothing is called twice.
func TestRunSurvivesOutage(t *testing.T) {
	for _, scene := range runScenes() {
		for from := range 30 {
			for _, length := range []time.Duration{time.Second, 15 * time.Second} {
				t.Run(fmt.Sprintf("%s/from %d s for %s", scene.name, from, length), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p, r := scene.disturb(t, func(start time.Time) func(int, string) faultKind {
							return func(int, string) faultKind {
								if since := time.Since(start) - time.Duration(from)*time.Second; since >= 0 && since < length {
									return lostRequest
								}
								return ""
							}
						})
						scene.checkUndisturbed(t, p, r)
					})
				})
			}
		}
	}
}

// TestRunSurvivesCrash lets a worker die before and after each of its steps. Another one
// goes on: with a second call only where it is not known of the first one's effect, and
// then the record says so.
func TestRunSurvivesCrash(t *testing.T) {
	for _, scene := range runScenes() {
		for n := range scene.steps(t) {
			for _, kind := range faultKinds() {
				t.Run(fmt.Sprintf("%s/step %d %s", scene.name, n, kind), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p := newPlant(scene.answers...)
						job := p.acceptJob(t, jwksEvent(t, 1))
						p.steps = nil
						p.failing = dieAt(n, kind)
						w1 := p.runner(t, "w1")
						for delivery := 0; ; delivery++ {
							v, err := w1.Run(t.Context(), Delivery{Job: job})
							if err != nil {
								break
							}
							pass(v.Delay)
						}
						p.failing = nil
						pass(30 * time.Second)
						deliverAgain(t, p.runner(t, "w2"), job)
						r := p.record(t, job.ID)
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

// dieAt lets everything fail from the n-th step on; of that step itself the request or
// the answer is lost.
func dieAt(n int, kind faultKind) func(int, string) faultKind {
	return func(at int, _ string) faultKind {
		switch {
		case at < n:
			return ""
		case at == n:
			return kind
		}
		return lostRequest
	}
}

// deliverAgain is deliverUntilDone for a message that was handed over before.
func deliverAgain(t *testing.T, r *Runner, j Job) {
	t.Helper()
	for range 100 {
		v := run(t, r, Delivery{Job: j})
		if v.Done {
			return
		}
		pass(v.Delay)
	}
	t.Fatal("the job is not done after 100 deliveries")
}

// TestAnnounceFails: a job that is done and not announced is announced by the next
// delivery, which says that it may have been before.
func TestAnnounceFails(t *testing.T) {
	for _, kind := range faultKinds() {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				job := p.acceptJob(t, jwksEvent(t, 1))
				failed := false
				p.failing = func(_ int, step string) faultKind {
					if step == "announce" && !failed {
						failed = true
						return kind
					}
					return ""
				}
				r := p.runner(t, "w1")
				want := "announcing job " + job.ID + ": announce: no answer came"
				if v, err := r.Run(t.Context(), Delivery{Job: job}); v.Done || errorText(err) != want {
					t.Errorf("settlement %+v, error %v", v, err)
				}
				if v := run(t, r, Delivery{Job: job}); !v.Done {
					t.Errorf("settlement %+v", v)
				}
				if last := p.announce[len(p.announce)-1]; !last.Again || len(p.results) != 1 || p.api.made() != 1 {
					t.Errorf("announced %+v, %d results, %d calls", p.announce, len(p.results), p.api.made())
				}
				checkCount(t, p, "finished jwks.revoke revoked", 1)
				if got := p.logs.FilterMessage("job finished").Len(); got != 1 {
					t.Errorf("%d Info lines", got)
				}
			})
		})
	}
}

// TestRunGivesUpOnLedger: a ledger that stays away is waited for, within bounds.
func TestRunGivesUpOnLedger(t *testing.T) {
	tests := []struct {
		name string
		from int // The first step that fails.
		want time.Duration
		err  string
	}{
		{name: "loading", from: 0, want: 0, err: "loading job "},
		{name: "claiming", from: 1, want: 5 * time.Second, err: "claiming job "},
		{name: "recording", from: 2, want: 20 * time.Second, err: "recording job "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				job := p.acceptJob(t, jwksEvent(t, 1))
				p.steps = nil
				p.failing = dieAt(tt.from, lostRequest)
				start := time.Now()
				v, err := p.runner(t, "w1").Run(t.Context(), Delivery{Job: job})
				if got := errorText(err); v != (Settlement{}) || len(got) < len(tt.err) || got[:len(tt.err)] != tt.err {
					t.Errorf("settlement %+v, error %q, want %q…", v, got, tt.err)
				}
				if took := time.Since(start); took != tt.want {
					t.Errorf("gave up after %s, want %s", took, tt.want)
				}
			})
		})
	}
}
