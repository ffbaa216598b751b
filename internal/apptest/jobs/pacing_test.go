package jobs_test

import (
	"testing"
	"time"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

func TestRateLimitOfOneJobHoldsTheJobsOfItsBucket(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	limited, others := apptest.HexID(1), []string{apptest.HexID(2), apptest.HexID(3), apptest.HexID(4)}
	atlas.Script(limited, apptest.RetryAfter(429, "2"))
	w := rig.Start(t)
	w.Publish("incident", apptest.JwksRevoke(limited).String())
	// On a busy machine this test may not look while the job waits: the answer is what counts.
	w.RecordOf(limited, func(r jobs.PublicRecord) bool { return len(r.Attempts) > 0 && r.Attempts[0].Reason != "" })
	for _, idp := range others {
		w.Publish("incident", apptest.IdpDelete(idp).String())
	}
	w.Results(4)
	opens := atlas.Requests(limited)[0].Answered.Add(2 * time.Second)
	for _, idp := range others {
		calls := atlas.Requests(idp)
		if len(calls) != 1 {
			t.Fatalf("got %d calls for %s, want 1", len(calls), idp)
		}
		if calls[0].At.Before(opens) {
			t.Errorf("the job on %s called %s before the bucket opened", idp, opens.Sub(calls[0].At))
		}
		if record := w.ResultOf(idp); record.AttemptCount != 1 || record.AttemptsSpent != 1 {
			t.Errorf("the job on %s made %d attempts, want 1: being held is none", idp, record.AttemptCount)
		}
	}
}

func TestRateLimitHoldsTheWholeFleet(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Worker.Concurrency = 2
	w, _ := apptest.TwoWorkers(t, rig)
	limited := apptest.HexID(1000)
	atlas.Script(limited, apptest.RetryAfter(429, "3"))
	w.Publish("incident", apptest.JwksRevoke(limited).String())
	// On a busy machine this test may not look while the job waits: the answer is what counts.
	w.RecordOf(limited, func(r jobs.PublicRecord) bool { return len(r.Attempts) > 0 && r.Attempts[0].Reason != "" })
	const others = 30
	// Jobs of another bucket go through, and give the news the time to reach the other worker.
	for n := range others {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(n)).String())
	}
	w.Results(others)
	for n := range others {
		w.Publish("incident", apptest.JwksRevoke(apptest.HexID(n)).String())
	}
	workers := map[string]int{}
	for _, r := range w.Results(2*others + 1) {
		if r.Record.Kind == kinds.JWKSRevoke {
			workers[r.Record.Attempts[0].Worker]++
		}
	}
	if len(workers) != 2 {
		t.Errorf("the jobs were done by %v, want both workers", workers)
	}
	calls := atlas.Requests("/jwks")
	opens := calls[0].Answered.Add(3 * time.Second)
	for _, c := range calls[1:] {
		if c.At.Before(opens) {
			t.Errorf("%s was called %s before the bucket opened", c.URI, opens.Sub(c.At))
		}
	}
	if got := len(calls); got != others+2 {
		t.Errorf("got %d calls, want %d", got, others+2)
	}
}

func TestRateLimitOfTheTokenEndpointHoldsBearerCalls(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	atlas.Script(apptest.TokenPath, apptest.JSONReply(429, `{"error":"rate_limited","error_description":"Resource is limited to 10 requests every 1 minutes."}`).After("1"))
	w := rig.Start(t)
	for n := range 10 {
		w.Publish("incident", apptest.X509Disable(apptest.HexID(n)).String())
	}
	for _, r := range w.Results(10) {
		if r.Record.Outcome != jobs.OutcomeRevoked || r.Record.AttemptsSpent != 1 {
			t.Errorf("%s with %d attempts spent, want revoked with 1", r.Record.Outcome, r.Record.AttemptsSpent)
		}
	}
	tokens := atlas.Requests(apptest.TokenPath)
	if len(tokens) != 2 {
		t.Fatalf("got %d requests for a token, want 2", len(tokens))
	}
	if got := tokens[1].At.Sub(tokens[0].Answered); got < time.Second {
		t.Errorf("the second request came after %s, want at least 1s", got)
	}
}
