package proof

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// since is an answer that changes at a moment.
func since(at time.Duration, before, then int) func(string, time.Duration) (int, error) {
	return func(_ string, after time.Duration) (int, error) {
		if after < at {
			return before, nil
		}
		return then, nil
	}
}

func failing(reason jobs.Reason) func(string, time.Duration) (int, error) {
	return func(string, time.Duration) (int, error) {
		return 0, &jobs.Failure{Reason: reason, Err: errors.New("no answer")}
	}
}

// TestVerdicts: what the answers of the API make of a verdict, when, and after which looks.
func TestVerdicts(t *testing.T) {
	own := []Event{{ID: "e1", Type: deleted, By: "key", Own: true}}
	tests := []struct {
		name    string
		kind    kinds.Name
		plan    func(*plant)
		verdict jobs.Verdict
		after   time.Duration
		looks   int
		says    string // Of the latest evidence.
		counted string
	}{
		{"dead at once", read, func(*plant) {}, "verified", 0, 1, "no event", "verified true 1s"},
		{"dead and in the log", read, func(p *plant) { p.events = func(time.Duration) ([]Event, error) { return own, nil } }, "verified", 0, 1, "by key; it names no target: matched by type, time and actor", "verified true 1s"},
		{"the API lags", read, func(p *plant) { p.answer = since(4*time.Second, 200, 404) }, "verified", 5 * time.Second, 3, "no event", "verified true 6s"},
		{"still alive", read, func(p *plant) { p.answer = since(time.Hour, 200, 404) }, "still_alive", 15 * time.Minute, 19, "no event", "still_alive false 15m1s"},
		{"a restart", restart, func(p *plant) {
			p.answer = func(check string, after time.Duration) (int, error) {
				if check == "clusters" && after < 10*time.Minute {
					return 202, nil
				}
				return 404, nil
			}
		}, "verified", 10 * time.Minute, 14, "Not Found", "verified true 10m1s"},
		{"a restart without end", restart, func(p *plant) {
			p.answer = func(check string, _ time.Duration) (int, error) {
				return map[string]int{"clusters": 202, "target": 404}[check], nil
			}
		}, "accepted", 15 * time.Minute, 19, "Accepted", "accepted false 15m1s"},
		{"no role", restart, func(p *plant) { p.answer = since(0, 0, 403) }, "accepted", 0, 1, "Forbidden", "accepted false 1s"},
		{"no role, but the log", read, func(p *plant) {
			p.answer = since(0, 0, 403)
			p.events = func(after time.Duration) ([]Event, error) {
				return slices.Clone(own[:min(int(after/(30*time.Second)), 1)]), nil
			}
		}, "recorded", time.Minute, 5, "MADE_UP_DELETED", "recorded true 1m1s"},
		{"no read works", restart, func(p *plant) { p.answer = failing(jobs.ReasonUnavailable) }, "accepted", 15 * time.Minute, 19, "the read failed: unavailable: no answer", "accepted false 15m1s"},
		{"no log", blind, func(p *plant) { p.policy.Events = false }, "accepted", 0, 1, "", "accepted false 1s"},
		{"a log that stays empty", blind, func(*plant) {}, "accepted", 15 * time.Minute, 19, "no event", "accepted false 15m1s"},
		{"a log that may not be read", blind, func(p *plant) {
			p.events = func(time.Duration) ([]Event, error) {
				return nil, &jobs.Failure{Reason: jobs.ReasonForbidden, Err: errors.New("no role")}
			}
		}, "accepted", 0, 1, "the read failed: forbidden: no role", "accepted false 1s"},
		{"the event of another account", blind, func(p *plant) {
			p.policy.Within = 0
			p.events = func(time.Duration) ([]Event, error) { return []Event{{ID: "e2", Type: deleted, By: "other"}}, nil }
		}, "accepted", 0, 1, "no event", "accepted false 1s"},
		{"probed", probed, func(p *plant) { p.answer = since(0, 0, 401) }, "verified", 0, 1, "Unauthorized", "verified true 1s"},
		{"not probed", probed, func(p *plant) { p.policy.Probe = false }, "accepted", 0, 1, "not read: proof.probe is off", "accepted false 1s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(t, tt.kind)
				tt.plan(p)
				p.deliver(t)
				r := p.record(t)
				took := time.Since(p.began)
				if r.Proof.Verdict != tt.verdict || took != tt.after || r.Proof.Checks != tt.looks || !r.Proof.CheckedAt.Equal(p.began.Add(tt.after)) {
					t.Errorf("%s after %s and %d looks, want %s after %s and %d", r.Proof.Verdict, took, r.Proof.Checks, tt.verdict, tt.after, tt.looks)
				}
				if says := r.Proof.Evidence[len(r.Proof.Evidence)-1].Says; !strings.Contains(says, tt.says) {
					t.Errorf("the latest evidence is %q, want %q in it", says, tt.says)
				}
				if !r.Proof.NextCheckAt.IsZero() || r.Proving != nil || (r.Sealed != nil) != tt.verdict.Alive() || r.Proof.VerifiedAt.IsZero() == tt.verdict.Dead() {
					t.Errorf("the record is %+v, %+v", r, r.Proof)
				}
				if diff := cmp.Diff([]string{tt.counted}, p.counted); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
				want := string(tt.verdict)
				if tt.verdict.Alive() {
					want += " with a dead letter"
				}
				if diff := cmp.Diff([]string{want}, p.announced); diff != "" {
					t.Errorf("announced (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestSeenToWorkWhilePending: until the verdict, the record says that a look has seen the target work.
func TestSeenToWorkWhilePending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, read)
		var seen []bool
		p.answer = func(_ string, after time.Duration) (int, error) {
			seen = append(seen, p.record(t).Proof.Works)
			return since(4*time.Second, 200, 404)("", after)
		}
		p.deliver(t)
		seen = append(seen, p.record(t).Proof.Works)
		if !slices.Equal(seen, []bool{false, true, true, false}) {
			t.Errorf("seen to work before each look and after the last: %v", seen)
		}
	})
}

// TestEventOfTheJob: an event is evidence when the job's account made it while the job was attempted, or it names the target and no
// actor.
func TestEventOfTheJob(t *testing.T) {
	tests := []struct {
		name  string
		event Event
		after time.Duration // Its time, since the API's answer.
		want  jobs.Verdict
	}{
		{"own", Event{Own: true, By: "key"}, 0, jobs.VerdictRecorded},
		{"own, and late", Event{Own: true, By: "key"}, 30 * time.Second, jobs.VerdictRecorded},
		{"of an earlier job", Event{Own: true, By: "key"}, -30 * time.Second, jobs.VerdictAccepted},
		{"of a later job", Event{Own: true, By: "key"}, 10 * time.Minute, jobs.VerdictAccepted},
		{"by a clock that is an hour ahead", Event{Own: true, Names: true, By: "key"}, time.Hour, jobs.VerdictAccepted},
		{"by another on the target", Event{Names: true, By: "other"}, 0, jobs.VerdictAccepted},
		{"on the target, without an actor", Event{Names: true}, 0, jobs.VerdictRecorded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(t, blind)
				tt.event.ID, tt.event.Type, tt.event.At = "e1", deleted, p.began.Add(tt.after)
				p.events = func(after time.Duration) ([]Event, error) {
					if after < tt.after && tt.after < time.Hour {
						return nil, nil
					}
					return []Event{tt.event}, nil
				}
				p.deliver(t)
				if r := p.record(t); r.Proof.Verdict != tt.want {
					t.Errorf("%s, want %s: %+v", r.Proof.Verdict, tt.want, r.Proof.Evidence)
				}
			})
		})
	}
}

// TestTimesOfSlowReads: a target is known to be dead since the answer that shows it, and not since its read began.
func TestTimesOfSlowReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, read)
		p.policy.Events, p.takes = false, 20*time.Second
		p.deliver(t)
		r, want := p.record(t), p.began.Add(20*time.Second)
		if seen := r.Proof.Evidence[1]; !r.Proof.VerifiedAt.Equal(want) || !r.Proof.CheckedAt.Equal(want) || !seen.At.Equal(want) {
			t.Errorf("verified at %s, evidence of %s, want %s", r.Proof.VerifiedAt, seen.At, want)
		}
		if diff := cmp.Diff([]string{"verified true 21s"}, p.counted); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	})
}

// TestRetryAfterIsObeyed: no read is made before the moment that the API names, and one that comes after the end of the time is
// made all the same.
func TestRetryAfterIsObeyed(t *testing.T) {
	for _, wait := range []time.Duration{3 * time.Second, 90 * time.Second, 20 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			p := newPlant(t, read)
			p.policy.Events = false
			p.answer = func(_ string, after time.Duration) (int, error) {
				if after < wait {
					return 0, &jobs.Failure{Reason: jobs.ReasonRateLimited, RetryAt: p.began.Add(wait), Err: errors.New("429")}
				}
				return 404, nil
			}
			p.deliver(t)
			if diff := cmp.Diff([]string{"target 0s", "target " + wait.String()}, p.reads); diff != "" {
				t.Errorf("reads (-want +got):\n%s", diff)
			}
			if v := p.record(t).Proof.Verdict; v != jobs.VerdictVerified {
				t.Errorf("the verdict is %s", v)
			}
		})
	}
}

// TestCrash: whatever step fails, done or not, the check is made again, and its verdict is announced once.
func TestCrash(t *testing.T) {
	for _, step := range []string{"update", "announce", "retry"} {
		for _, done := range []bool{false, true} {
			for n := range 3 {
				synctest.Test(t, func(t *testing.T) {
					p := newPlant(t, read)
					p.policy.Retry, p.policy.Within = true, 10*time.Second
					p.answer = since(time.Hour, 200, 404)
					seen := 0
					p.fail = func(name string) (bool, error) {
						if name != step {
							return true, nil
						}
						if seen++; seen != n+1 {
							return true, nil
						}
						return done, errors.New("no answer came")
					}
					p.deliver(t)
					if diff := cmp.Diff([]string{"still_alive"}, p.announced); diff != "" || p.retried != 1 {
						t.Errorf("%s %d, done: %t: %d retries, announced (-want +got):\n%s", step, n, done, p.retried, diff)
					}
				})
			}
		}
	}
}

// TestStillAliveIsRetried at most three times, and is a dead letter then.
func TestStillAliveIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, read)
		p.policy.Retry, p.policy.Within = true, 10*time.Second
		p.answer = since(24*time.Hour, 200, 404)
		for p.record(t).Proof != nil && p.retried < 9 {
			before := p.retried
			p.deliver(t)
			if p.retried == before {
				break
			}
			r := p.record(t) // The job succeeds again.
			now := time.Now()
			r.State, r.Outcome, r.FinishedAt = jobs.StateDone, jobs.OutcomeRevoked, now
			r.Proof, r.Proving = &jobs.Proof{Verdict: jobs.VerdictPending, NextCheckAt: now, Evidence: []jobs.Evidence{{At: now, Check: jobs.EvidenceAnswer}}}, &jobs.Proving{}
			p.put(t, r)
		}
		want := []string{"still_alive", "still_alive", "still_alive", "still_alive with a dead letter"}
		if diff := cmp.Diff(want, p.announced); diff != "" || p.retried != MaxRetries {
			t.Errorf("%d retries, announced (-want +got):\n%s", p.retried, diff)
		}
	})
}

// TestStoppingFindsNothing: a read that the end of the worker cuts off is no finding.
func TestStoppingFindsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, read)
		ctx, cancel := context.WithCancel(t.Context())
		p.answer = func(string, time.Duration) (int, error) {
			cancel()
			return 0, &jobs.Failure{Reason: jobs.ReasonUnavailable, Err: context.Canceled}
		}
		s, err := p.checker().Check(ctx, jobs.Delivery{Job: jobs.Job{ID: "job", Kind: read}, Count: 1})
		if r := p.record(t); err != nil || s.Done || r.Proof.Checks != 0 || len(r.Proof.Evidence) != 1 {
			t.Errorf("%+v, %v, and the record has %+v", s, err, r.Proof)
		}
	})
}

// TestElsewhere: a worker that does not know the account yet leaves looks to one that does. What it could not read is no finding.
func TestElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watching(t, 0)
		left := 0
		p.elsewhere = func(_ context.Context, _ jobs.Job, due time.Time) (bool, error) {
			if due.IsZero() || due.After(time.Now()) {
				t.Errorf("it came due at %s", due)
			}
			left++
			return left%20 != 0, nil
		}
		p.deliver(t)
		if r := p.record(t); r.Proof.Verdict != jobs.VerdictVerified || left != 20*r.Proof.Checks || len(p.reads) == 0 {
			t.Errorf("%s after %d looks, of which %d were left", r.Proof.Verdict, r.Proof.Checks, left)
		}
	})
}

// TestOldMessages: a message of another round, of a job without a proof, or of a stopped proof is settled without a read.
func TestOldMessages(t *testing.T) {
	for name, change := range map[string]func(*jobs.Record){
		"retried since": func(r *jobs.Record) { r.Round = 1 },
		"no proof":      func(r *jobs.Record) { r.Proof = nil },
		"stopped":       func(r *jobs.Record) { r.Proof.NextCheckAt = time.Time{} },
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPlant(t, read)
			r := p.record(t)
			change(&r)
			p.put(t, r)
			s, err := p.checker().Check(t.Context(), jobs.Delivery{Job: jobs.Job{ID: "job"}, Count: 1})
			if err != nil || !s.Done || len(p.reads)+len(p.announced) > 0 {
				t.Errorf("%s: %+v, %v, reads %v, announced %v", name, s, err, p.reads, p.announced)
			}
		})
	}
}
