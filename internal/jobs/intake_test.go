package jobs

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		e := jwksEvent(t, 1)
		job := newJob(e, "security")
		got := p.accept(t, e)
		if diff := cmp.Diff(Accepted{Result: EventAccepted, JobID: job.ID}, got); diff != "" {
			t.Errorf("accepted (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(NewRecord(job), p.record(t, job.ID)); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(Holder{JobID: job.ID, At: time.Now().UTC()}, p.holder(t, job), ignoreRevision()); diff != "" {
			t.Errorf("holder (-want +got):\n%s", diff)
		}
		if queued := p.queued(job.ID); len(queued) != 1 || queued[0].Params.Get("federation_id") != idA || queued[0].Lane != LaneUrgent {
			t.Errorf("queue: %+v", queued)
		}
		if diff := cmp.Diff(map[string]int{"enqueued jwks.revoke urgent event": 1}, p.recorder.Counts); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
	})
}

// ignoreRevision compares holders by what they say.
func ignoreRevision() cmp.Option {
	return cmp.FilterPath(func(path cmp.Path) bool { return path.Last().String() == ".Revision" }, cmp.Ignore())
}

func TestAcceptAccount(t *testing.T) {
	tests := []struct {
		name    string
		account string
		want    string
		wantErr string
	}{
		{name: "none is the only or first one", want: "security"},
		{name: "named", account: "legacy", want: "legacy"},
		{name: "unknown", account: "x", wantErr: "account: is not configured"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlant(works)
			accepted, err := p.intake.Accept(t.Context(), jwksEvent(t, 1, func(e *Event) { e.Request.Account = tt.account }))
			if got := errorText(err); got != tt.wantErr {
				t.Fatalf("error %q, want %q", got, tt.wantErr)
			}
			if err != nil {
				if malformed(t, err); len(p.steps) != 0 || accepted != (Accepted{}) {
					t.Errorf("a malformed event left %v and %v", p.steps, accepted)
				}
				return
			}
			if got := p.record(t, accepted.JobID).Account; got != tt.want {
				t.Errorf("account %q, want %q", got, tt.want)
			}
		})
	}
}

// TestAcceptSeenBefore delivers an event a second time, in each of the ways in which that happens.
func TestAcceptSeenBefore(t *testing.T) {
	copied := func(e *Event) { e.Seq = 99 }
	redelivered := func(*Event) {}
	tests := []struct {
		name       string
		change     func(*Event)  // Of the second delivery.
		record     func(*Record) // What became of the job meanwhile.
		wantResult EventResult
		wantQueued int
	}{
		{name: "published twice", change: copied, wantResult: EventDuplicate, wantQueued: 1},
		{name: "published twice on another subject", change: func(e *Event) { copied(e); e.Class = ClassRotation }, wantResult: EventDuplicate, wantQueued: 1},
		{name: "redelivered", change: redelivered, wantResult: EventAccepted, wantQueued: 2},
		{
			name: "redelivered while it runs", change: redelivered, record: func(r *Record) { r.begin(time.Now(), "w1", time.Minute) },
			wantResult: EventAccepted, wantQueued: 1,
		},
		{
			name: "redelivered while it is held by a pause", change: redelivered, record: func(r *Record) { r.wait(time.Now().Add(time.Minute)) },
			wantResult: EventAccepted, wantQueued: 1,
		},
		{
			name: "redelivered when it was put back", change: redelivered,
			record:     func(r *Record) { r.begin(time.Now(), "w1", time.Minute); r.requeue() },
			wantResult: EventAccepted, wantQueued: 1,
		},
		{
			name: "published again when it is done", change: copied,
			record:     func(r *Record) { r.finish(time.Now(), 0, OutcomeRevoked, "", false) },
			wantResult: EventDuplicate, wantQueued: 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlant(works)
			first := p.accept(t, jwksEvent(t, 1))
			if tt.record != nil {
				r := p.record(t, first.JobID)
				tt.record(&r)
				p.put(t, r)
			}
			e := jwksEvent(t, 1)
			tt.change(&e)
			want := Accepted{Result: tt.wantResult, JobID: first.JobID}
			if diff := cmp.Diff(want, p.accept(t, e)); diff != "" {
				t.Errorf("accepted (-want +got):\n%s", diff)
			}
			if got := len(p.queued(first.JobID)); got != tt.wantQueued || len(p.jobIDs()) != 1 {
				t.Errorf("queued %d times, want %d; jobs %v", got, tt.wantQueued, p.jobIDs())
			}
		})
	}
}

func TestAcceptExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		at := time.Now()
		expires := func(d time.Duration) func(*Event) { return func(e *Event) { e.Request.ExpiresAt = at.Add(d) } }
		_, err := p.intake.Accept(t.Context(), jwksEvent(t, 1, expires(0)))
		if want := "expires_at: the request expired at 2000-01-01T00:00:00Z"; errorText(err) != want {
			t.Errorf("error %v, want %s", err, want)
		}
		if malformed(t, err); len(p.jobIDs()) != 0 || len(p.queue) != 0 {
			t.Errorf("an expired event made jobs %v", p.jobIDs())
		}
		p.accept(t, jwksEvent(t, 2, expires(time.Second)))
		p.accept(t, jwksEvent(t, 3, expires(time.Second)))
		pass(time.Minute)
		for seq, what := range map[uint64]string{2: "made a job", 3: "joined one"} {
			got := p.accept(t, jwksEvent(t, seq, expires(time.Second), func(e *Event) { e.Seq = 99 }))
			if got.Result != EventDuplicate || got.JobID == "" {
				t.Errorf("a copy of an event that %s and has expired since: %+v", what, got)
			}
		}
	})
}

// TestAcceptCopiesInParallel: the same event a hundred times at once is one job.
func TestAcceptCopiesInParallel(t *testing.T) {
	p := newPlant(works)
	results := make([]Accepted, 100)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() {
			accepted, err := p.intake.Accept(t.Context(), jwksEvent(t, 1, func(e *Event) { e.Seq = uint64(i) }))
			if err != nil {
				t.Errorf("Accept: %v", err)
			}
			results[i] = accepted
		})
	}
	all.Wait()
	made := slices.DeleteFunc(slices.Clone(results), func(a Accepted) bool { return a.Result == EventDuplicate })
	if len(made) != 1 || len(p.jobIDs()) != 1 {
		t.Fatalf("%d events accepted, jobs %v", len(made), p.jobIDs())
	}
	// Two copies at the same step may both queue the job: its message id makes them one.
	if n := len(p.queued(p.jobIDs()[0])); n == 0 || n != len(p.queue) {
		t.Errorf("queued %d times, other jobs %d times", n, len(p.queue)-n)
	}
	for _, got := range results {
		if got.JobID != p.jobIDs()[0] {
			t.Errorf("an event found job %s", got.JobID)
		}
	}
}

// TestAcceptEventsInParallel: a hundred alerts about one target at once are one job that
// knows them all. An intake that is not decided yet is handed over again, as the bus does.
func TestAcceptEventsInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				for range 100 {
					if _, err := p.intake.Accept(t.Context(), jwksEvent(t, uint64(i))); err == nil {
						return
					}
					pass(time.Second)
				}
				t.Errorf("event %d is not taken in", i)
			})
		}
		all.Wait()
		ids := p.jobIDs()
		if len(ids) != 1 || len(p.queue) != 1 {
			t.Fatalf("jobs %v, %d queued", ids, len(p.queue))
		}
		r := p.record(t, ids[0])
		if r.EventCount != 100 || len(r.Events) != 100 {
			t.Errorf("%d events counted, %d listed", r.EventCount, len(r.Events))
		}
		for i := range uint64(100) {
			if !r.HasEvent(jwksEvent(t, i).EventRef) {
				t.Errorf("event %d is not on the record", i)
			}
		}
	})
}

// TestAcceptStoreErrors: what the stores cannot do is no mistake of the event.
func TestAcceptStoreErrors(t *testing.T) {
	for step, wrap := range map[string]string{
		"ledger.load": "looking up job", "targets.load": "looking up target", "targets.save": "taking target",
		"ledger.create": "recording job", "queue.enqueue": "queueing job",
	} {
		t.Run(wrap, func(t *testing.T) {
			p := newPlant(works)
			p.failNamed(step, lostRequest)
			accepted, err := p.intake.Accept(t.Context(), jwksEvent(t, 1))
			if !errors.Is(err, errLost) || accepted != (Accepted{}) {
				t.Errorf("Accept = %v, %v", accepted, err)
			}
			if _, bad := errors.AsType[*Malformed](err); bad || len(errorText(err)) < len(wrap) || errorText(err)[:len(wrap)] != wrap {
				t.Errorf("error %q, want one that begins with %q", err, wrap)
			}
		})
	}
}
