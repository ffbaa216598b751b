package jobs

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/kinds"
)

// TestCanary takes a secret token through every way that a job can go and looks for it in
// all that is kept, said or counted. The queue alone carries it.
func TestCanary(t *testing.T) {
	token := func(e *Event) {
		e.Request.Kind = kinds.TokenRevoke
		e.Request.Params = mustParams(t, kinds.TokenRevoke, map[string]any{"token": canary})
	}
	synctest.Test(t, func(t *testing.T) {
		for _, reason := range append(Reasons(), "an error of no kind") {
			answer := fails(Failure{Reason: reason, MaybeEffective: true})
			if reason == ReasonNone {
				answer = works
			}
			p := newPlant(takes(20*time.Second, answer), answer, works)
			job := p.acceptJob(t, jwksEvent(t, 1, token, inLane(LaneBulk)))
			p.accept(t, jwksEvent(t, 2, token))
			p.accept(t, jwksEvent(t, 3, token, separately))
			deliverUntilDone(t, p.runner(t, "w1"), job)
			deliverUntilDone(t, p.runner(t, "w1"), job)
			if p.queued(job.ID)[0].Params.Secret("token").Reveal() != canary {
				t.Error("the queue lost the token")
			}
			mustHideAll(t, p)
		}
	})
}

// TestCanaryInErrors lets every step of intake and run fail and reads the errors.
func TestCanaryInErrors(t *testing.T) {
	token := func(e *Event) {
		e.Request.Kind = kinds.TokenRevoke
		e.Request.Params = mustParams(t, kinds.TokenRevoke, map[string]any{"token": canary})
	}
	for _, kind := range faultKinds() {
		for n := range 12 {
			synctest.Test(t, func(t *testing.T) {
				p := newPlant(fails(Failure{Reason: ReasonNotFound}))
				p.failing = dieAt(n, kind)
				e := jwksEvent(t, 1, token)
				_, intakeErr := p.intake.Accept(t.Context(), e)
				_, runErr := p.runner(t, "w1").Run(t.Context(), Delivery{Job: newJob(e, "security")})
				if intakeErr == nil && runErr == nil && n < len(p.steps) {
					t.Errorf("step %d: no error", n)
				}
				mustNotShow(t, "the error", fmt.Sprintf("%v %+v %v %+v", intakeErr, intakeErr, runErr, runErr))
				mustHideAll(t, p)
			})
		}
	}
}

func mustHideAll(t *testing.T, p *plant) {
	t.Helper()
	for key, value := range p.values {
		mustNotShow(t, "the stored value of "+key, key+string(value.data))
	}
	results, err := json.Marshal(p.results)
	if err != nil {
		t.Fatal(err)
	}
	mustNotShow(t, "a result", string(results))
	mustNotShow(t, "the log", p.logText.String())
	mustNotShow(t, "a metric", fmt.Sprint(p.recorder.Counts))
	mustNotShow(t, "an announcement", fmt.Sprintf("%+v", p.announce))
}
