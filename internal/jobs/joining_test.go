package jobs

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestNoJoinOfWhatWillNotDoIt: an event joins only a job that will do what it asks for, in time.
func TestNoJoinOfWhatWillNotDoIt(t *testing.T) {
	expires := func(d time.Duration) func(*Event) {
		return func(e *Event) { e.Request.ExpiresAt = time.Now().Add(d) }
	}
	tests := []struct {
		name   string
		change func(*Record)
		event  func(*Event)
		joins  bool
	}{
		{name: "asked to cancel", change: func(r *Record) { r.CancelAsked = true }},
		{name: "asked to cancel while it runs", change: func(r *Record) { r.begin(time.Now(), "w1", time.Minute); r.CancelAsked = true }},
		{name: "waits for longer than the event may", change: func(r *Record) { r.wait(time.Now().Add(time.Hour)) }, event: expires(time.Minute)},
		{name: "waits for less", change: func(r *Record) { r.wait(time.Now().Add(time.Second)) }, event: expires(time.Minute), joins: true},
		{name: "waits for the job of another account", change: func(r *Record) { r.wait(time.Now().Add(time.Hour)) }, event: ofAccount("legacy")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				first := p.acceptJob(t, jwksEvent(t, 1))
				r := p.record(t, first.ID)
				tt.change(&r)
				p.put(t, r)
				change := tt.event
				if change == nil {
					change = func(*Event) {}
				}
				got := p.accept(t, jwksEvent(t, 2, change))
				if joined := got.JobID == first.ID; joined != tt.joins || joined != (got.Result == EventDuplicate) {
					t.Errorf("accepted %+v, want joined %v", got, tt.joins)
				}
				if tt.joins {
					return
				}
				// A third one finds the job that will do it, however many there are.
				if third := p.accept(t, jwksEvent(t, 3, change)); third.JobID != got.JobID {
					t.Errorf("event 3 came to %+v, want %s", third, got.JobID)
				}
			})
		})
	}
}

// TestHolderIsBounded: jobs beside one another are remembered up to a bound, the latest ones.
func TestHolderIsBounded(t *testing.T) {
	p := newPlant(works)
	var last Job
	for seq := uint64(1); seq <= 2*maxOthers; seq++ {
		last = p.acceptJob(t, jwksEvent(t, seq, separately))
	}
	h := p.holder(t, last)
	if len(h.Others) != maxOthers || h.JobID != last.ID || h.Others[0] != ID("siem", fmt.Sprintf("event-%d", 2*maxOthers-1)) {
		t.Errorf("holder %+v", h)
	}
}

// TestJoinedEventsKeepTheirTexts: who asked and why is on the record and in the result for each event.
func TestJoinedEventsKeepTheirTexts(t *testing.T) {
	p := newPlant(works)
	p.intake.secrets = Secrets{Sealer: newSealer(), Plaintext: PlaintextSeal}
	texts := func(reason, by string) func(*Event) {
		return func(e *Event) { e.Request.Reason, e.Request.RequestedBy = reason, by }
	}
	token := map[string]any{"token": canary}
	first := revokeEvent(t, 1, token)
	texts("first", "soar")(&first)
	second := revokeEvent(t, 2, token)
	texts("found "+canary+" again", "siem")(&second)
	job := p.acceptJob(t, first)
	p.accept(t, second)
	deliverUntilDone(t, p.runner(t, "w1"), job)
	var got []string
	for _, e := range p.results[0].Events {
		got = append(got, e.RequestedBy+": "+e.Reason)
	}
	mustNotShow(t, "the result", fmt.Sprint(p.results))
	if len(got) != 2 || got[0] != "soar: first" || !strings.HasPrefix(got[1], "siem: found [redacted ") || p.results[0].Reason != "first" {
		t.Errorf("the events say %q", got)
	}
}
