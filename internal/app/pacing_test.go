package app_test

import (
	"testing"
	"time"

	"rekey/internal/jobs"
)

func TestRateLimitOfOneJobHoldsTheJobsOfItsBucket(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	limited, others := hexID(1), []string{hexID(2), hexID(3), hexID(4)}
	atlas.script(limited, retryAfter(429, "2"))
	w := rig.start(t)
	w.publish("incident", jwksRevoke(limited).String())
	w.recordOf(limited, func(r jobs.Record) bool { return r.State == jobs.StateWaiting })
	for _, idp := range others {
		w.publish("incident", idpDelete(idp).String())
	}
	w.results(4)
	opens := atlas.requests(limited)[0].answered.Add(2 * time.Second)
	for _, idp := range others {
		calls := atlas.requests(idp)
		if len(calls) != 1 {
			t.Fatalf("got %d calls for %s, want 1", len(calls), idp)
		}
		if calls[0].at.Before(opens) {
			t.Errorf("the job on %s called %s before the bucket opened", idp, opens.Sub(calls[0].at))
		}
		if record := w.resultOf(idp); record.AttemptCount != 1 || record.AttemptsSpent != 1 {
			t.Errorf("the job on %s made %d attempts, want 1: being held is none", idp, record.AttemptCount)
		}
	}
}

func TestRateLimitHoldsTheWholeFleet(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Worker.Concurrency = 2
	w, _ := twoWorkers(t, rig)
	limited := hexID(1000)
	atlas.script(limited, retryAfter(429, "3"))
	w.publish("incident", jwksRevoke(limited).String())
	// On a busy machine this test may not look while the job waits: the answer is what counts.
	w.recordOf(limited, func(r jobs.Record) bool { return len(r.Attempts) > 0 && r.Attempts[0].Reason != "" })
	const others = 30
	// Jobs of another bucket go through, and give the news the time to reach the other worker.
	for n := range others {
		w.publish("incident", x509Disable(hexID(n)).String())
	}
	w.results(others)
	for n := range others {
		w.publish("incident", jwksRevoke(hexID(n)).String())
	}
	workers := map[string]int{}
	for _, r := range w.results(2*others + 1) {
		if r.record.Kind == jobs.JWKSRevoke {
			workers[r.record.Attempts[0].Worker]++
		}
	}
	if len(workers) != 2 {
		t.Errorf("the jobs were done by %v, want both workers", workers)
	}
	calls := atlas.requests("/jwks")
	opens := calls[0].answered.Add(3 * time.Second)
	for _, c := range calls[1:] {
		if c.at.Before(opens) {
			t.Errorf("%s was called %s before the bucket opened", c.uri, opens.Sub(c.at))
		}
	}
	if got := len(calls); got != others+2 {
		t.Errorf("got %d calls, want %d", got, others+2)
	}
}

func TestRateLimitOfTheTokenEndpointHoldsBearerCalls(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	atlas.script(tokenPath, jsonReply(429, `{"error":"rate_limited","error_description":"Resource is limited to 10 requests every 1 minutes."}`).after("1"))
	w := rig.start(t)
	for n := range 10 {
		w.publish("incident", x509Disable(hexID(n)).String())
	}
	for _, r := range w.results(10) {
		if r.record.Outcome != jobs.OutcomeRevoked || r.record.AttemptsSpent != 1 {
			t.Errorf("%s with %d attempts spent, want revoked with 1", r.record.Outcome, r.record.AttemptsSpent)
		}
	}
	tokens := atlas.requests(tokenPath)
	if len(tokens) != 2 {
		t.Fatalf("got %d requests for a token, want 2", len(tokens))
	}
	if got := tokens[1].at.Sub(tokens[0].answered); got < time.Second {
		t.Errorf("the second request came after %s, want at least 1s", got)
	}
}
