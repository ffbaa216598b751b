package jobs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/kinds"
	"rekey/internal/redact"
)

// copied is an event as another message under the identity of event 1.
func copied(change ...func(*Event)) func(*Event) {
	return func(e *Event) {
		e.ID, e.Seq = "event-1", 99
		for _, c := range change {
			c(e)
		}
	}
}

func onTarget(federation string) func(*Event) {
	return func(e *Event) {
		e.Request.Params.plain = map[string]string{"federation_id": federation, "identity_provider_id": idB}
	}
}

// heldAs returns the code and text of an error that must be a *Rejection.
func heldAs(t *testing.T, err error) (RejectCode, string) {
	t.Helper()
	held, ok := errors.AsType[*Rejection](err)
	if !ok {
		t.Fatalf("the error is %v, want a *Rejection", err)
	}
	return held.Code, held.Error()
}

// TestSameIdentityAnotherRequest: who uses another sender's source and id does not make that one's
// request a duplicate: it is refused aloud, or done.
func TestSameIdentityAnotherRequest(t *testing.T) {
	otherKind := func(e *Event) {
		e.Request.Kind, e.Request.Params = kinds.X509Disable, mustParams(t, kinds.X509Disable, map[string]any{"project_id": idA})
	}
	tests := []struct {
		name    string
		outcome Outcome // Of the first job; "" while it is unfinished.
		change  func(*Event)
		want    string // What of the conflict's text differs; "" where the request is done.
	}{
		{name: "another account, unfinished", change: ofAccount("legacy"), want: "is queued and asks for something else: account differs"},
		{name: "another target, unfinished", change: onTarget(idC), want: "is queued and asks for something else: params.federation_id differs"},
		{name: "another kind, revoked", outcome: OutcomeRevoked, change: otherKind, want: "ended as revoked and asks for something else: kind, params.federation_id, params.identity_provider_id and params.project_id differ"},
		{name: "another account, already gone", outcome: OutcomeAlreadyGone, change: ofAccount("legacy"), want: "ended as already_gone"},
		{name: "another account, refused", outcome: OutcomeRefused, change: ofAccount("legacy")},
		{name: "another target, exhausted", outcome: OutcomeExhausted, change: onTarget(idC)},
		{name: "another kind, cancelled", outcome: OutcomeCancelled, change: otherKind},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlant(works)
			first := p.acceptJob(t, jwksEvent(t, 1))
			if tt.outcome != "" {
				p.end(t, first.ID, tt.outcome)
			}
			other := jwksEvent(t, 2, copied(tt.change))
			got, err := p.intake.Accept(t.Context(), other)
			if tt.want != "" {
				code, text := heldAs(t, err)
				if code != RejectConflict || !strings.Contains(text, "id: job "+first.ID+" has the same source and id, "+tt.want) || len(p.jobIDs()) != 1 {
					t.Errorf("%s: %s; jobs %v", code, text, p.jobIDs())
				}
				return
			}
			if err != nil || got.Result != EventAccepted || got.JobID == first.ID {
				t.Fatalf("accepted %+v: %v", got, err)
			}
			account := "security"
			if other.Request.Account != "" {
				account = other.Request.Account
			}
			job := newJob(other, account)
			if r := p.record(t, got.JobID); r.RequestDigest != job.Digest || r.Account != job.Account {
				t.Errorf("the record is of %s by %s", r.Target, r.Account)
			}
			if len(p.queued(got.JobID)) != 1 {
				t.Errorf("%d messages of the second job", len(p.queued(got.JobID)))
			}
			// Once: a copy of it finds it, and so does the message itself.
			for _, seq := range []uint64{99, 100} {
				again := jwksEvent(t, 2, copied(tt.change), func(e *Event) { e.Seq = seq })
				if other := p.accept(t, again); other.JobID != got.JobID || len(p.jobIDs()) != 2 {
					t.Errorf("message %d came to %+v; jobs %v", seq, other, p.jobIDs())
				}
			}
		})
	}
}

// TestConflictShowsNoSecret: two tokens under one identity.
func TestConflictShowsNoSecret(t *testing.T) {
	token := func(value string) func(*Event) {
		return func(e *Event) {
			e.Request.Kind, e.Request.Params = kinds.TokenRevoke, mustParams(t, kinds.TokenRevoke, map[string]any{"token": value})
		}
	}
	p := newPlant(works)
	p.accept(t, jwksEvent(t, 1, token(canary)))
	_, err := p.intake.Accept(t.Context(), jwksEvent(t, 2, copied(token("another-"+canary))))
	if _, text := heldAs(t, err); !strings.Contains(text, "params.token differs") {
		t.Error(text)
	}
	mustNotShow(t, "the conflict", errorText(err))
}

// TestDuplicateOfAFailedJob is logged, and on the record: nothing is done for it.
func TestDuplicateOfAFailedJob(t *testing.T) {
	p := newPlant(works)
	first := p.acceptJob(t, jwksEvent(t, 1))
	p.end(t, first.ID, OutcomeRefused)
	texts := func(e *Event) { e.Request.Reason, e.Request.RequestedBy = "still alive", "night shift" }
	for _, want := range []Outcome{OutcomeRefused, ""} { // The second delivery of the same message says nothing new.
		got := p.accept(t, jwksEvent(t, 2, copied(texts)))
		if diff := cmp.Diff(Accepted{Result: EventDuplicate, JobID: first.ID, Ended: want}, got); diff != "" {
			t.Errorf("accepted (-want +got):\n%s", diff)
		}
	}
	r := p.record(t, first.ID)
	if r.EventCount != 2 || len(r.Events) != 2 || !r.Events[1].Duplicate || r.Events[1].Reason != "still alive" || r.Events[1].RequestedBy != "night shift" {
		t.Errorf("events %+v", r.Events)
	}
	if r.Outcome != OutcomeRefused || len(p.queue) != 1 {
		t.Errorf("outcome %s, %d messages", r.Outcome, len(p.queue))
	}
}

// TestDuplicateOfAJoinedEvent: what was joined is no job of its own, and a copy of it gets the same result.
func TestDuplicateOfAJoinedEvent(t *testing.T) {
	p := newPlant(works)
	first := p.acceptJob(t, jwksEvent(t, 1))
	p.accept(t, jwksEvent(t, 2))
	p.end(t, first.ID, OutcomeRefused)
	got := p.accept(t, jwksEvent(t, 2, func(e *Event) { e.Seq = 99 }))
	if diff := cmp.Diff(Accepted{Result: EventDuplicate, JobID: first.ID, Ended: OutcomeRefused}, got); diff != "" {
		t.Errorf("accepted (-want +got):\n%s", diff)
	}
	// Another request under the identity that joined is not done in silence either.
	_, err := p.intake.Accept(t.Context(), jwksEvent(t, 2, ofAccount("legacy"), func(e *Event) { e.Seq = 100 }))
	if err != nil {
		t.Fatalf("the job that it joined has failed, and it is refused: %v", err)
	}
	third := p.acceptJob(t, jwksEvent(t, 3))
	p.accept(t, jwksEvent(t, 4))
	if _, err := p.intake.Accept(t.Context(), jwksEvent(t, 4, ofAccount("legacy"), func(e *Event) { e.Seq = 101 })); err == nil {
		t.Errorf("another request under the identity of an event that joined %s is no conflict", third.ID)
	}
}

// TestDuplicateThatMayWaitLonger: an event under a foreign identity cannot end another sender's request
// by an early expiry or in a slow lane.
func TestDuplicateThatMayWaitLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		soon := func(e *Event) { e.Request.ExpiresAt, e.Request.Lane = time.Now().Add(time.Minute), LaneBulk }
		first := p.acceptJob(t, jwksEvent(t, 1, soon))
		if got := p.accept(t, jwksEvent(t, 2, copied())); got.JobID != first.ID || got.Result != EventDuplicate {
			t.Fatalf("accepted %+v", got)
		}
		if r := p.record(t, first.ID); !r.ExpiresAt.IsZero() || r.Lane != LaneUrgent || r.EventCount != 2 || len(p.queued(first.ID)) != 2 {
			t.Errorf("expires at %s in lane %s; %d events, %d messages", r.ExpiresAt, r.Lane, r.EventCount, len(p.queued(first.ID)))
		}

		second := p.acceptJob(t, jwksEvent(t, 3, onTarget(idC), soon))
		pass(time.Hour)
		deliverUntilDone(t, p.runner(t, "w1"), second)
		if got := p.record(t, second.ID).Outcome; got != OutcomeExhausted {
			t.Fatalf("the job ended as %s", got)
		}
		third := func(seq uint64) Event {
			return jwksEvent(t, 3, onTarget(idC), func(e *Event) { e.Seq = seq })
		}
		got := p.accept(t, third(98))
		if got.Result != EventAccepted || got.JobID == second.ID {
			t.Errorf("one that may wait came to %+v", got)
		}
		if again := p.accept(t, third(99)); again.JobID != got.JobID || again.Result != EventDuplicate {
			t.Errorf("a copy of it came to %+v", again)
		}
	})
}

// TestPolicyJobsOfOneIdentity: another sender's jobs under the same source and id are made beside.
func TestPolicyJobsOfOneIdentity(t *testing.T) {
	p := newPlant(works)
	by := func(policy string) func(*Event) { return func(e *Event) { e.Request.Policy = policy } }
	first := p.accept(t, jwksEvent(t, 1, by("p"), ofAccount("legacy")))
	for name, change := range map[string]func(*Event){
		"another account":  ofAccount("security"),
		"another target":   onTarget(idC),
		"a direct request": by(""),
	} {
		if got := p.accept(t, jwksEvent(t, 2, copied(by("p"), ofAccount("legacy"), change), separately)); got.JobID == first.JobID || got.Result != EventAccepted {
			t.Errorf("%s came to %+v", name, got)
		}
	}
	if got := p.accept(t, jwksEvent(t, 2, copied(by("q"), ofAccount("legacy")))); got.JobID != first.JobID || got.Result != EventDuplicate {
		t.Errorf("the same by another policy came to %+v", got)
	}
}

// TestOneTokenAtTwoAccounts: an event that asks for it by policies makes two jobs, and both are done.
func TestOneTokenAtTwoAccounts(t *testing.T) {
	token := func(account string) Request {
		return Request{Kind: kinds.TokenRevoke, Account: account, Params: mustParams(t, kinds.TokenRevoke, map[string]any{"token": canary})}
	}
	synctest.Test(t, func(t *testing.T) {
		p := newSpread(Rules{Decider: decider{asks("a", token("security"), token("legacy"), token("security"))}})
		if _, err := p.fanout.Accept(t.Context(), jwksEvent(t, 1)); err != nil {
			t.Fatal(err)
		}
		if len(p.queue) != 2 || len(p.jobIDs()) != 2 {
			t.Fatalf("%d messages of jobs %v, want two", len(p.queue), p.jobIDs())
		}
		for _, job := range slices.Clone(p.queue) {
			deliverUntilDone(t, p.runner(t, "w1"), job)
		}
		var by []string
		for _, r := range p.results {
			by = append(by, fmt.Sprint(r.Account, " ", r.Outcome))
		}
		slices.Sort(by)
		if diff := cmp.Diff([]string{"legacy revoked", "security revoked"}, by); diff != "" {
			t.Errorf("results (-want +got):\n%s", diff)
		}
	})
}

// TestConflictAtOnce takes in two requests of one identity at the same time: whatever happens in between,
// each is done as it was asked for, or refused aloud.
func TestConflictAtOnce(t *testing.T) {
	for n := range 12 {
		t.Run(fmt.Sprintf("step %d", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				accounts := map[string]bool{}
				var otherErr error
				p.meanwhile(n, func() {
					_, otherErr = p.newIntake().Accept(t.Context(), jwksEvent(t, 2, copied(onTarget(idC), ofAccount("legacy"))))
				})
				_, err := p.intake.Accept(t.Context(), jwksEvent(t, 1))
				ran := p.steps
				for _, one := range []error{err, otherErr} {
					if one != nil {
						if code, text := heldAs(t, one); code != RejectConflict {
							t.Errorf("%s: %s", code, text)
						}
					}
				}
				if err != nil && otherErr != nil {
					t.Error("neither request is done")
				}
				for _, job := range slices.Clone(p.queue) {
					run(t, p.runner(t, "w1"), Delivery{Job: job, Count: 1})
				}
				for _, r := range p.results {
					accounts[r.Account] = true
					want := "federation/" + idA + "/idp/" + idB
					if r.Account == "legacy" {
						want = "federation/" + idC + "/idp/" + idB
					}
					if r.Target != want || r.Outcome != OutcomeRevoked {
						t.Errorf("the result of %s is %s of %s", r.Account, r.Outcome, r.Target)
					}
				}
				if accounts["security"] == (err != nil) || len(p.results) != p.api.made() || len(p.results) == 0 {
					t.Errorf("results of %v with the errors %v and %v; steps %v", accounts, err, otherErr, ran)
				}
			})
		})
	}
}

// TestNamesHoldNoCredential: one list of what of an event is kept and shown, and one rule for it.
func TestNamesHoldNoCredential(t *testing.T) {
	const shaped = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln"
	tests := []struct {
		field string
		set   func(e *Event, text string)
	}{
		{"source", func(e *Event, text string) { e.Source = text }},
		{"id", func(e *Event, text string) { e.ID = text }},
		{"NATS subject", func(e *Event, text string) { e.Subject = text }},
		{"type", func(e *Event, text string) { e.Envelope.Type = text }},
		{"subject", func(e *Event, text string) { e.Envelope.Topic = text }},
	}
	for _, tt := range tests {
		for what, text := range map[string]string{"the token of the request": "x-" + canary, "the look of one": "x." + shaped} {
			t.Run(tt.field+", "+what, func(t *testing.T) {
				p := newPlant(works)
				sealer := newSealer()
				p.intake.secrets = Secrets{Sealer: sealer, Plaintext: PlaintextSeal}
				e := revokeEvent(t, 1, map[string]any{"token_sealed": mustSealText(t, sealer, canary)})
				tt.set(&e, text)
				got, err := p.intake.Accept(t.Context(), e)
				problems := malformed(t, err)
				if len(problems) != 1 || problems[0].Field != tt.field || len(p.values)+len(p.queue) > 0 {
					t.Errorf("problems %v, stored %v", problems, p.values)
				}
				if known := got.InClear(); len(known) != 1 || known[0].Reveal() != canary {
					t.Error("the caller does not learn what to hide")
				}
				if err := e.Scrub(redact.NewSet(got.InClear()...)); err == nil || strings.Contains(fmt.Sprint(e.EventRef, e.Envelope), text) {
					t.Errorf("hidden: %v, %v", e.EventRef, e.Envelope)
				}
			})
		}
	}
}
