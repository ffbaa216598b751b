package jobs

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func proving(c *RunnerConfig) { c.Prove = true }

// TestProofBeginsWithTheSuccess: in the same write, with the API's answer as its first evidence; and not where none is wanted.
func TestProofBeginsWithTheSuccess(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Event)
		off    bool
		want   Verdict
	}{
		{name: "success", want: VerdictPending},
		{name: "proof: false", change: func(e *Event) { e.Request.NoProof = true }},
		{name: "dry run", change: func(e *Event) { e.Request.DryRun = true }},
		{name: "switched off", off: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(works)
				event := tokenEvent(t, 1)
				event.Request.Params = sealedParams(t, event.Request.Params)
				if tt.change != nil {
					tt.change(&event)
				}
				job := p.acceptJob(t, event)
				deliverUntilDone(t, p.runner(t, "w1", func(c *RunnerConfig) { c.Prove = !tt.off }), job)
				r := p.record(t, job.ID)
				if r.Verdict() != tt.want || (r.Sealed != nil) != (tt.want == VerdictPending) || (r.Proving != nil) != (tt.want == VerdictPending) {
					t.Fatalf("verdict %q, sealed %v, proving %v", r.Verdict(), r.Sealed, r.Proving)
				}
				if tt.want == "" {
					return
				}
				want := &Proof{Verdict: VerdictPending, NextCheckAt: r.FinishedAt, Evidence: []Evidence{{
					At: r.FinishedAt, Check: "answer", Status: 204, Says: "the API answered  with 204",
				}}}
				if diff := cmp.Diff(want, r.Proof); diff != "" {
					t.Errorf("proof (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// sealedParams are parameters with sealed forms.
func sealedParams(t *testing.T, p Params) Params {
	t.Helper()
	sealed, err := p.Seal(newSealer())
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// TestAnEventThatWantsAProof turns the proof of the job on that it joins.
func TestAnEventThatWantsAProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		job := p.acceptJob(t, jwksEvent(t, 1, func(e *Event) { e.Request.NoProof = true }))
		if !p.record(t, job.ID).NoProof {
			t.Fatal("the record does not say that no proof is wanted")
		}
		p.accept(t, jwksEvent(t, 2))
		deliverUntilDone(t, p.runner(t, "w1", proving), job)
		if r := p.record(t, job.ID); r.NoProof || r.Verdict() != VerdictPending {
			t.Errorf("no proof: %t, verdict %q", r.NoProof, r.Verdict())
		}
	})
}

// TestRetryOfWhatIsAlive: a success whose target is alive can be retried, and its next success is proven anew.
func TestRetryOfWhatIsAlive(t *testing.T) {
	for _, verdict := range Verdicts() {
		synctest.Test(t, func(t *testing.T) {
			again := works
			p := newPlant(works, again)
			job := p.acceptJob(t, jwksEvent(t, 1))
			deliverUntilDone(t, p.runner(t, "w1", proving), job)
			r := p.record(t, job.ID)
			r.Conclude(time.Now(), verdict, time.Time{})
			if verdict == VerdictReverted {
				r.BackAs = map[string]string{"identity_provider_id": idC}
			}
			p.put(t, r)
			_, err := p.operator(nil).Retry(t.Context(), job.ID, Operation{Action: ActionRetry, By: ByProof})
			if !verdict.Alive() {
				if err == nil {
					t.Errorf("a job whose target is %s was retried", verdict)
				}
				return
			}
			if r := p.record(t, job.ID); err != nil || r.Proof != nil || r.Proving != nil || r.Done() || r.ProofRetries() != 1 {
				t.Fatalf("%v, and the record is %+v", err, r)
			}
			queued := p.memory.queue[len(p.memory.queue)-1]
			if id := queued.Params.Get("identity_provider_id"); (id == idC) != (verdict == VerdictReverted) || queued.Target() != job.Target() {
				t.Errorf("the retry of what is %s acts on %s, of %s", verdict, id, queued.Target())
			}
			deliverUntilDone(t, p.runner(t, "w1", proving), queued)
			if r := p.record(t, job.ID); r.Outcome != OutcomeRevoked || r.Verdict() != VerdictPending || r.Round != 1 {
				t.Errorf("after the retry: %s %s", r.Outcome, r.Verdict())
			}
		})
	}
}

// TestEvidenceIsBounded: what a check shows again and again is one evidence, and of many the first and the latest are kept.
func TestEvidenceIsBounded(t *testing.T) {
	var p Proof
	for n := range 100 {
		p.Note(Evidence{Check: "answer", Says: "first"})
		p.Note(Evidence{At: noon().Add(time.Duration(n)), Check: "target", Status: 200})
		p.Note(Evidence{At: noon().Add(time.Duration(n)), Check: "clusters", Says: "restarting"})
	}
	if len(p.Evidence) != 3 || !p.Evidence[1].At.Equal(noon().Add(99)) {
		t.Errorf("the same again and again: %+v", p.Evidence)
	}
	for n := range 100 {
		p.Note(Evidence{Check: "target", Says: fmt.Sprint(n)})
	}
	if n := len(p.Evidence); n != maxEvidence || p.Evidence[0].Says != "first" || p.Evidence[n-1].Says != "99" {
		t.Errorf("%d evidences, the first and last are %+v, %+v", n, p.Evidence[0], p.Evidence[n-1])
	}
}

// checkQueue keeps the checks that are queued.
type checkQueue []Job

func (q *checkQueue) EnqueueCheck(_ context.Context, j Job, _ Record) error {
	*q = append(*q, j)
	return nil
}

// TestRecheck: a check whose message was lost is queued again with its secret sealed, and that of a concluded proof is not.
func TestRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(works)
		event := tokenEvent(t, 1)
		event.Request.Params = sealedParams(t, event.Request.Params)
		job := p.acceptJob(t, event)
		deliverUntilDone(t, p.runner(t, "w1", proving), job)
		var q checkQueue
		queued, err := p.operator(nil).Recheck(t.Context(), job.ID, &q)
		if err != nil || !queued || len(q) != 1 || q[0].ID != job.ID || q[0].Params.Sealed("token") == "" || q[0].Target() != job.Target() {
			t.Fatalf("%t, %v, queued %+v", queued, err, q)
		}
		r := p.record(t, job.ID)
		r.Conclude(time.Now(), VerdictVerified, time.Time{})
		p.put(t, r)
		if queued, err := p.operator(nil).Recheck(t.Context(), job.ID, &q); err != nil || queued || len(q) != 1 {
			t.Errorf("a concluded proof: %t, %v, %d checks", queued, err, len(q))
		}
	})
}

// TestMeaningIsKept: what the target means is on the record before the call, and the next attempt has it; where no proof is wanted, it
// need not be read.
func TestMeaningIsKept(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var had []map[string]string
			attempt := func(ctx context.Context, j Job) (Answer, error) {
				had = append(had, j.Meaning)
				if (j.KeepMeaning != nil) != wanted {
					t.Errorf("the meaning can be kept: %t, want %t", j.KeepMeaning != nil, wanted)
				}
				if j.KeepMeaning != nil && j.Meaning == nil {
					if err := j.KeepMeaning(ctx, map[string]string{"group": "admins"}); err != nil {
						t.Error(err)
					}
				}
				return Answer{}, &Failure{Reason: ReasonUnavailable, MaybeEffective: true, Err: errLost}
			}
			again := attempt
			p := newPlant(attempt, again, works)
			job := p.acceptJob(t, jwksEvent(t, 1, func(e *Event) { e.Request.NoProof = !wanted }))
			deliverUntilDone(t, p.runner(t, "w1", proving), job)
			want := []map[string]string{nil, {"group": "admins"}}
			if !wanted {
				want[1] = nil
			}
			if diff := cmp.Diff(want, had); diff != "" {
				t.Errorf("meanings (-want +got):\n%s", diff)
			}
			if r := p.record(t, job.ID); r.Outcome != OutcomeRevoked || (r.Meaning["group"] == "admins") != wanted {
				t.Errorf("%s, meaning %v", r.Outcome, r.Meaning)
			}
		})
	}
}
