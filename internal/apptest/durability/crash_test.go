package durability_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/apptest"
	"rekey/internal/jobs"
)

func TestAbruptEnd(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Atlas.Timeout = apptest.CrashTimeout
	inFlight, limited, done := apptest.HexID(1), apptest.HexID(2), apptest.HexID(3)
	atlas.Script(inFlight, apptest.Holding(make(chan struct{})))
	atlas.Script(limited, apptest.RetryAfter(429, "5"))
	process, url := rig.StartToKill(t)
	victim := apptest.DialNATS(t, url)
	victim.Publish("incident", apptest.X509Disable(done).String())
	victim.Results(1)
	victim.Publish("incident", apptest.X509Disable(limited).String())
	apptest.Eventually(t, "the answer 429 to be recorded", func() bool {
		return slices.ContainsFunc(victim.Messages("KV_REKEY_LEDGER"), func(m *jetstream.RawStreamMsg) bool {
			return strings.Contains(string(m.Data), `"reason":"rate_limited"`)
		})
	})
	victim.Publish("incident", apptest.X509Disable(inFlight).String())
	atlas.Await(t, inFlight, 1)
	process.Kill()
	victim.Nc.Close()
	w := rig.Beside("worker-2").Start(t)
	w.Results(3)
	w.Settled()
	if got := len(w.Results(3)); got != 3 {
		t.Errorf("there are %d results, want 3", got)
	}
	lost := w.ResultOf(inFlight)
	if lost.Outcome != jobs.OutcomeRevoked || lost.AttemptCount != 2 || lost.AttemptsMaybeEffective != 2 ||
		lost.Attempts[0].Reason != jobs.ReasonInterrupted {
		t.Errorf("the job in flight is %s, want revoked by a second attempt after one that may have taken effect", apptest.Encoded(lost))
	}
	if calls := atlas.Requests(done); len(calls) != 1 {
		t.Errorf("the job that was done was called %d times, want once", len(calls))
	}
	calls := atlas.Requests(limited)
	if len(calls) != 2 || calls[1].At.Sub(calls[0].Answered) < 5*time.Second {
		t.Errorf("the job that waited made %d calls, want 2 with at least 5s between them", len(calls))
	}
}

// TestRepeatedRevocationSaysSo: a JWKS is revoked again when the answer to the first call was
// lost with its worker, and the result says that it may have happened twice. A deletion that
// finds nothing then is no mistyped id.
func TestRepeatedRevocationSaysSo(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Atlas.Timeout = apptest.CrashTimeout
	revoked, deleted := apptest.HexID(1), apptest.HexID(2)
	atlas.Script(revoked+"/jwks", apptest.Holding(make(chan struct{})))
	atlas.Script(deleted, apptest.Holding(make(chan struct{})), apptest.Problem(404, "RESOURCE_NOT_FOUND").Always())
	process, url := rig.StartToKill(t)
	victim := apptest.DialNATS(t, url)
	victim.Publish("incident", apptest.JwksRevoke(revoked).String())
	victim.Publish("incident", apptest.IdpDelete(deleted).String())
	atlas.Await(t, revoked, 1)
	atlas.Await(t, deleted, 1)
	process.Kill()
	victim.Nc.Close()
	w := rig.Beside("worker-2").Start(t)
	if r := w.ResultOf(revoked); r.Outcome != jobs.OutcomeRevoked || r.AttemptsMaybeEffective != 2 || len(atlas.Requests(revoked)) != 2 {
		t.Errorf("the JWKS is %s", apptest.Encoded(r))
	}
	if r := w.ResultOf(deleted); r.Outcome != jobs.OutcomeAlreadyGone || r.AttemptsMaybeEffective != 1 {
		t.Errorf("the identity provider is %s", apptest.Encoded(r))
	}
}

// TestKilledAgainAndAgain kills the worker, its embedded NATS server included, at random moments
// while events flow.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Atlas.Timeout = apptest.CrashTimeout
	rig.Cfg.NATS.Embedded.Listen = apptest.FreeAddress(t)
	atlas.Script("/userSecurity", apptest.Reply{Delay: 5 * time.Millisecond}.Always())
	process, url := rig.StartToKill(t)
	publisher := apptest.DialNATS(t, url)
	stop := publisher.Flow(3 * time.Millisecond)
	for range apptest.Sized(5, 50) {
		<-time.After(50*time.Millisecond + rand.N(time.Second))
		process.Kill()
		process, _ = rig.StartToKill(t)
	}
	<-time.After(rand.N(time.Second))
	n := stop()
	process.Kill()
	w := rig.Beside("worker-2").Start(t)
	w.Results(n)
	w.Settled()
	repeated := w.Tally(t, atlas, n)
	t.Logf("%d events, %d calls were repeated because their answer was lost", n, repeated)
	if n == 0 {
		t.Error("nothing was published")
	}
}

// TestPausedWorkerDoesNotSettle stops a worker during its call for longer than its lease. Another
// one makes the call again and ends the job; what the first one has to say afterwards counts for
// nothing.
func TestPausedWorkerDoesNotSettle(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Atlas.Timeout = time.Second
	rig.Cfg.NATS.URL = apptest.StartNATS(t, nil).ClientURL()
	project := apptest.HexID(1)
	release := make(chan struct{})
	atlas.Script(project, apptest.Holding(release))
	process, _ := rig.StartToKill(t)
	w := &apptest.Worker{Stranger: &apptest.Stranger{T: t}, Rig: rig}
	w.Connected(t)
	w.Publish("incident", apptest.X509Disable(project).String())
	atlas.Await(t, project, 1)
	resume := process.Pause()
	close(release) // The answer lies in the socket.
	second := rig.Beside("worker-2").Launch(t)
	second.AwaitReady()
	ended := w.ResultOf(project)
	if ended.Outcome != jobs.OutcomeRevoked || ended.AttemptsMaybeEffective != 2 || ended.Attempts[1].Worker != "worker-2" {
		t.Errorf("the job is %s, want revoked by worker-2 after an attempt that may have taken effect", apptest.Encoded(ended))
	}
	second.Stop()
	resume()
	// It works on, and has had the time to settle what it held when it has done something else.
	w.Publish("incident", apptest.X509Disable(apptest.HexID(2)).String())
	if other := w.ResultOf(apptest.HexID(2)); other.Attempts[0].Worker != "worker-1" {
		t.Errorf("the other job is %s", apptest.Encoded(other))
	}
	w.Settled()
	if got := len(w.Results(2)); got != 2 || len(atlas.Requests(project)) != 2 {
		t.Errorf("%d results, %d calls, want 2 and 2", got, len(atlas.Requests(project)))
	}
	record := w.RecordOf(project, func(r jobs.PublicRecord) bool { return r.Done() })
	if record.FinishedAt != ended.FinishedAt || record.AttemptCount != 2 {
		t.Errorf("the record was changed: %s", apptest.Encoded(record))
	}
}
