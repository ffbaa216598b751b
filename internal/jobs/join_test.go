package jobs

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/kinds"
)

// Changes of an event.
func inLane(l Lane) func(*Event)      { return func(e *Event) { e.Request.Lane = l } }
func ofAccount(a string) func(*Event) { return func(e *Event) { e.Request.Account = a } }
func separately(e *Event)             { e.Request.Separate = true }

// end gives a job an outcome, as a runner would.
func (p *plant) end(t *testing.T, id string, outcome Outcome) {
	t.Helper()
	r := p.record(t, id)
	r.finish(time.Now(), 0, outcome, "", false)
	p.put(t, r)
}

// TestJoin: another event for an unfinished job's target joins it, whatever it is doing.
func TestJoin(t *testing.T) {
	tests := []struct {
		name   string
		record func(*Record)
	}{
		{name: "queued", record: func(*Record) {}},
		{name: "running", record: func(r *Record) { r.begin(time.Now(), "w1", time.Minute) }},
		{name: "waiting", record: func(r *Record) { r.wait(time.Now().Add(time.Hour)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlant(works)
			first := p.accept(t, jwksEvent(t, 1))
			r := p.record(t, first.JobID)
			tt.record(&r)
			p.put(t, r)
			second := jwksEvent(t, 2)
			for _, e := range []Event{second, jwksEvent(t, 2), jwksEvent(t, 2, func(e *Event) { e.Seq = 99 })} {
				if diff := cmp.Diff(Accepted{Result: EventDuplicate, JobID: first.JobID}, p.accept(t, e)); diff != "" {
					t.Errorf("accepted (-want +got):\n%s", diff)
				}
			}
			want := r
			want.Events, want.EventCount = append(want.Events, newJob(second, "security").recorded()), 2
			if diff := cmp.Diff(want, p.record(t, first.JobID), cmp.Comparer(time.Time.Equal)); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
			if len(p.jobIDs()) != 1 || len(p.queue) != 1 {
				t.Errorf("jobs %v, %d queued", p.jobIDs(), len(p.queue))
			}
		})
	}
}

// TestJoinedEventStaysJoined: a copy of an event that joined a job makes none when that
// job is long done and another has the target.
func TestJoinedEventStaysJoined(t *testing.T) {
	p := newPlant(works)
	first := p.accept(t, jwksEvent(t, 1))
	p.accept(t, jwksEvent(t, 2))
	p.end(t, first.JobID, OutcomeRevoked)
	p.accept(t, jwksEvent(t, 3))
	got := p.accept(t, jwksEvent(t, 2, func(e *Event) { e.Seq = 99 }))
	if diff := cmp.Diff(Accepted{Result: EventDuplicate, JobID: first.JobID}, got); diff != "" || len(p.jobIDs()) != 2 {
		t.Errorf("jobs %v; accepted (-want +got):\n%s", p.jobIDs(), diff)
	}
}

// TestJoinHalfDone: an event that is on a job's record and was cut off there joined it,
// although that job is done when the event is redelivered.
func TestJoinHalfDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		first := p.accept(t, jwksEvent(t, 1))
		p.failNamed("targets.join", lostRequest)
		if _, err := p.intake.Accept(t.Context(), jwksEvent(t, 2)); err == nil {
			t.Fatal("the intake was not cut off")
		}
		p.failing = nil
		p.end(t, first.JobID, OutcomeRevoked)
		got := p.accept(t, jwksEvent(t, 2))
		if got.JobID != first.JobID || got.Result != EventDuplicate || p.record(t, first.JobID).EventCount != 2 {
			t.Errorf("accepted %+v", got)
		}
	})
}

func TestJoinLifts(t *testing.T) {
	tests := []struct {
		name       string
		lane, join Lane
		want       Lane
	}{
		{name: "urgent lifts bulk", lane: LaneBulk, join: LaneUrgent, want: LaneUrgent},
		{name: "normal lifts bulk", lane: LaneBulk, join: LaneNormal, want: LaneNormal},
		{name: "same lane", lane: LaneNormal, join: LaneNormal, want: LaneNormal},
		{name: "nothing is lowered", lane: LaneUrgent, join: LaneBulk, want: LaneUrgent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlant(works)
			job := p.acceptJob(t, jwksEvent(t, 1, inLane(tt.lane)))
			p.accept(t, jwksEvent(t, 2, inLane(tt.join), func(e *Event) { e.Request.Reason, e.Request.RequestedBy = "other", "other" }))
			if got := p.record(t, job.ID).Lane; got != tt.want {
				t.Errorf("lane %s, want %s", got, tt.want)
			}
			want := []Job{job}
			if tt.want != tt.lane {
				job.Lane = tt.want
				want = append(want, job)
			}
			if diff := cmp.Diff(want, p.queue, cmp.Comparer(sameParams), cmp.Comparer(time.Time.Equal)); diff != "" {
				t.Errorf("queue (-want +got):\n%s", diff)
			}
		})
	}
}

func sameParams(a, b Params) bool { return cmp.Equal(a.Carried(), b.Carried()) }

// TestJoinExtendsExpiry: an event that never expires does not end with one that does.
func TestJoinExtendsExpiry(t *testing.T) {
	p := newPlant(works)
	expires := func(d time.Duration) func(*Event) {
		return func(e *Event) { e.Request.ExpiresAt = time.Now().Add(d) }
	}
	job := p.acceptJob(t, jwksEvent(t, 1, expires(time.Minute)))
	p.accept(t, jwksEvent(t, 2, expires(time.Hour)))
	if got := p.record(t, job.ID).ExpiresAt; time.Until(got) < 59*time.Minute {
		t.Errorf("the job expires at %s", got)
	}
	p.accept(t, jwksEvent(t, 3))
	if got := p.record(t, job.ID).ExpiresAt; !got.IsZero() {
		t.Errorf("the job expires at %s", got)
	}
}

// TestNoJoin lists the events that get a job of their own, and what is remembered of the
// job before.
func TestNoJoin(t *testing.T) {
	project := func(e *Event) {
		e.Request.Kind = kinds.X509Disable
		e.Request.Params = mustParams(t, kinds.X509Disable, map[string]any{"project_id": idA})
	}
	deletes := func(e *Event) { e.Request.Kind = kinds.IDPDelete }
	tests := []struct {
		name       string
		outcome    Outcome // Of the job before; "" while it is unfinished.
		change     func(*Event)
		wantHolder Holder // "first" stands for the job before. Of the new job's target.
	}{
		{name: "another target", change: project},
		{name: "another kind on the same target", change: deletes},
		{name: "coalesce: false", change: separately, wantHolder: Holder{Others: []string{"first"}}},
		{name: "revoked before", outcome: OutcomeRevoked, change: func(*Event) {}, wantHolder: Holder{Revoked: "first"}},
		{name: "revoked before, coalesce: false", outcome: OutcomeRevoked, change: separately, wantHolder: Holder{Revoked: "first"}},
		{name: "refused before", outcome: OutcomeRefused, change: func(*Event) {}},
		{name: "exhausted before", outcome: OutcomeExhausted, change: func(*Event) {}},
		{name: "cancelled before", outcome: OutcomeCancelled, change: func(*Event) {}},
		{name: "already gone before", outcome: OutcomeAlreadyGone, change: func(*Event) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlant(works)
			first := p.accept(t, jwksEvent(t, 1))
			if tt.outcome != "" {
				p.end(t, first.JobID, tt.outcome)
			}
			second := jwksEvent(t, 2, tt.change)
			job := newJob(second, "security")
			if diff := cmp.Diff(Accepted{Result: EventAccepted, JobID: job.ID}, p.accept(t, second)); diff != "" {
				t.Errorf("accepted (-want +got):\n%s", diff)
			}
			if len(p.jobIDs()) != 2 || len(p.queued(job.ID)) != 1 || p.record(t, first.JobID).EventCount != 1 {
				t.Errorf("jobs %v, %d queued", p.jobIDs(), len(p.queued(job.ID)))
			}
			got := p.holder(t, job)
			if got.Revoked == first.JobID {
				got.Revoked = "first"
			}
			for i, id := range got.Others {
				if id == first.JobID {
					got.Others[i] = "first"
				}
			}
			tt.wantHolder.JobID, tt.wantHolder.At = job.ID, got.At
			if diff := cmp.Diff(tt.wantHolder, got, ignoreRevision()); diff != "" {
				t.Errorf("holder (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRevokedIsRemembered: that a target was revoked once is known after any number of
// later jobs on it, also when the job that did it was not the last to take the target.
func TestRevokedIsRemembered(t *testing.T) {
	p := newPlant(works)
	first := p.acceptJob(t, jwksEvent(t, 1))
	second := p.acceptJob(t, jwksEvent(t, 2, separately))
	p.end(t, first.ID, OutcomeRevoked)
	p.end(t, second.ID, OutcomeAlreadyGone)
	for seq := uint64(3); seq < 6; seq++ {
		next := p.acceptJob(t, jwksEvent(t, seq))
		if got := p.holder(t, next); got.Revoked != first.ID || got.Others != nil {
			t.Errorf("after event %d the holder is %+v", seq, got)
		}
		p.end(t, next.ID, OutcomeAlreadyGone)
	}
}

// TestJoinBeside: with two unfinished jobs on a target, events join the later one, and the
// earlier one when that is done.
func TestJoinBeside(t *testing.T) {
	p := newPlant(works)
	p.accept(t, jwksEvent(t, 1))
	second := p.acceptJob(t, jwksEvent(t, 2, separately))
	if got := p.accept(t, jwksEvent(t, 3)); got.JobID != second.ID {
		t.Errorf("event 3 joined %s, want %s", got.JobID, second.ID)
	}
	third := p.acceptJob(t, jwksEvent(t, 5, separately))
	if got := p.holder(t, third); len(got.Others) != 2 || got.Others[0] != second.ID {
		t.Errorf("holder %+v, want %s beside", got, second.ID)
	}
	p.end(t, third.ID, OutcomeRefused)
	if got := p.accept(t, jwksEvent(t, 4)); got.JobID != second.ID || got.Result != EventDuplicate {
		t.Errorf("event 4 came to %+v, want %s", got, second.ID)
	}
}

func TestJoinAccounts(t *testing.T) {
	token := func(e *Event) {
		e.Request.Kind = kinds.TokenRevoke
		e.Request.Params = mustParams(t, kinds.TokenRevoke, map[string]any{"token": canary})
	}
	p := newPlant(works)
	first := p.accept(t, jwksEvent(t, 1, token))
	if got := p.accept(t, jwksEvent(t, 2, token, ofAccount("legacy"))); got.JobID == first.JobID || got.Result != EventAccepted {
		t.Errorf("a token's job of another account: %+v", got)
	}
	third := p.accept(t, jwksEvent(t, 3))
	fourth := p.accept(t, jwksEvent(t, 4, ofAccount("legacy")))
	if fourth.JobID == third.JobID || fourth.Result != EventAccepted {
		t.Errorf("a JWKS's job of another account: %+v", fourth)
	}
	for seq, tt := range map[uint64]struct{ account, want string }{5: {"security", third.JobID}, 6: {"legacy", fourth.JobID}} {
		if got := p.accept(t, jwksEvent(t, seq, ofAccount(tt.account))); got.JobID != tt.want || got.Result != EventDuplicate {
			t.Errorf("an event of %s came to %+v, want %s", tt.account, got, tt.want)
		}
	}
}

// TestHolderWithoutRecord: an intake that was lost between taking the target and writing
// the record blocks others for 30 s, and then no more.
func TestHolderWithoutRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		p.failNamed("ledger.create", lostRequest)
		lost := jwksEvent(t, 1)
		if _, err := p.intake.Accept(t.Context(), lost); err == nil {
			t.Fatal("the intake was not cut off")
		}
		pass(creationTimeout - time.Second) // An intake waits for less than a second itself.
		if _, err := p.intake.Accept(t.Context(), jwksEvent(t, 2)); err == nil || len(p.jobIDs()) != 0 {
			t.Errorf("within the grace: error %v, jobs %v", err, p.jobIDs())
		}
		pass(time.Second)
		second := p.accept(t, jwksEvent(t, 2))
		if second.Result != EventAccepted {
			t.Errorf("after the grace: %+v", second)
		}
		late := jwksEvent(t, 1)
		if diff := cmp.Diff(Accepted{Result: EventDuplicate, JobID: second.JobID}, p.accept(t, late)); diff != "" {
			t.Errorf("the lost event (-want +got):\n%s", diff)
		}
		if r := p.record(t, second.JobID); len(p.jobIDs()) != 1 || !r.HasEvent(lost.EventRef) {
			t.Errorf("jobs %v", p.jobIDs())
		}
	})
}

// TestHolderIsTakenAnew: an event that comes back when its grace is nearly over renews its
// hold before it goes on, so that no other job takes the target over while it does.
func TestHolderIsTakenAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		p.failNamed("ledger.create", lostRequest)
		if _, err := p.intake.Accept(t.Context(), jwksEvent(t, 1)); err == nil {
			t.Fatal("the intake was not cut off")
		}
		pass(time.Minute)
		job := p.acceptJob(t, jwksEvent(t, 1))
		if got := p.holder(t, job); !got.At.Equal(time.Now()) || got.JobID != job.ID {
			t.Errorf("holder %+v", got)
		}
	})
}

// TestJoinHalfDoneExpires: an event that is on a job's record and was cut off there has an end,
// although it expires before it is redelivered.
func TestJoinHalfDoneExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		first := p.accept(t, jwksEvent(t, 1))
		expires := time.Now().Add(time.Minute)
		second := func() Event { return jwksEvent(t, 2, func(e *Event) { e.Request.ExpiresAt = expires }) }
		p.failNamed("targets.join", lostRequest)
		if _, err := p.intake.Accept(t.Context(), second()); err == nil {
			t.Fatal("the intake was not cut off")
		}
		p.failing = nil
		pass(time.Hour)
		for range 2 { // The second time it is noted.
			if diff := cmp.Diff(Accepted{Result: EventDuplicate, JobID: first.JobID}, p.accept(t, second())); diff != "" {
				t.Errorf("accepted (-want +got):\n%s", diff)
			}
		}
	})
}
