package app_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"rekey/internal/jobs"
)

// crashTimeout leaves the time to kill the worker during a call. The claim of a worker that was
// lost holds for 10 s longer.
const crashTimeout = 4 * time.Second

func TestAbruptEnd(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Atlas.Timeout = crashTimeout
	inFlight, limited, done := hexID(1), hexID(2), hexID(3)
	atlas.script(inFlight, holding(make(chan struct{})))
	atlas.script(limited, retryAfter(429, "5"))
	process, url := rig.startToKill(t)
	victim := dialNATS(t, url)
	victim.publish("incident", x509Disable(done).String())
	victim.results(1)
	victim.publish("incident", x509Disable(limited).String())
	atlas.await(t, limited, 1)
	victim.publish("incident", x509Disable(inFlight).String())
	atlas.await(t, inFlight, 1)
	process.kill()
	victim.nc.Close()
	w := rig.beside("worker-2").start(t)
	w.results(3)
	w.settled()
	if got := len(w.results(3)); got != 3 {
		t.Errorf("there are %d results, want 3", got)
	}
	lost := w.resultOf(inFlight)
	if lost.Outcome != jobs.OutcomeRevoked || lost.AttemptCount != 2 || lost.AttemptsMaybeEffective != 2 ||
		lost.Attempts[0].Reason != jobs.ReasonInterrupted {
		t.Errorf("the job in flight is %s, want revoked by a second attempt after one that may have taken effect", encoded(lost))
	}
	if calls := atlas.requests(done); len(calls) != 1 {
		t.Errorf("the job that was done was called %d times, want once", len(calls))
	}
	calls := atlas.requests(limited)
	if len(calls) != 2 || calls[1].at.Sub(calls[0].answered) < 5*time.Second {
		t.Errorf("the job that waited made %d calls, want 2 with at least 5s between them", len(calls))
	}
}

// TestRepeatedRevocationSaysSo: a JWKS is revoked again when the answer to the first call was
// lost with its worker, and the result says that it may have happened twice. A deletion that
// finds nothing then is no mistyped id.
func TestRepeatedRevocationSaysSo(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Atlas.Timeout = crashTimeout
	revoked, deleted := hexID(1), hexID(2)
	atlas.script(revoked+"/jwks", holding(make(chan struct{})))
	atlas.script(deleted, holding(make(chan struct{})), problem(404, "RESOURCE_NOT_FOUND").always())
	process, url := rig.startToKill(t)
	victim := dialNATS(t, url)
	victim.publish("incident", jwksRevoke(revoked).String())
	victim.publish("incident", idpDelete(deleted).String())
	atlas.await(t, revoked, 1)
	atlas.await(t, deleted, 1)
	process.kill()
	victim.nc.Close()
	w := rig.beside("worker-2").start(t)
	if r := w.resultOf(revoked); r.Outcome != jobs.OutcomeRevoked || r.AttemptsMaybeEffective != 2 || len(atlas.requests(revoked)) != 2 {
		t.Errorf("the JWKS is %s", encoded(r))
	}
	if r := w.resultOf(deleted); r.Outcome != jobs.OutcomeAlreadyGone || r.AttemptsMaybeEffective != 1 {
		t.Errorf("the identity provider is %s", encoded(r))
	}
}

// flow publishes events for the targets from 0 on, each until it is acknowledged, until it is
// stopped, and then says how many there were. Every event has an identity of its own, which it
// keeps when it is published again because no acknowledgement came.
func (s *stranger) flow(pause time.Duration) (stop func() int) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var publisher sync.WaitGroup
	n := 0
	publisher.Go(func() {
		for ; ctx.Err() == nil; n++ {
			for !s.offer(n) && s.t.Context().Err() == nil { //nolint:contextcheck // One that may be stored is not left without an answer.
				<-time.After(pause)
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	})
	return func() int {
		cancel()
		publisher.Wait()
		return n
	}
}

// offer publishes the event for a target and reports whether it was acknowledged, soon: a server
// that was killed does not say so.
func (s *stranger) offer(n int) bool {
	ctx, cancel := context.WithTimeout(s.t.Context(), 300*time.Millisecond)
	defer cancel()
	event := x509Disable(hexID(n)).cloudEvent("urn:siem", hexID(n))
	class := []string{"incident", "rotation"}[n%2]
	_, err := s.js.Publish(ctx, "rekey.v1.event."+class, []byte(event))
	return err == nil
}

// TestKilledAgainAndAgain kills the worker, its embedded NATS server included, at random moments
// while events flow.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Atlas.Timeout = crashTimeout
	rig.cfg.NATS.Embedded.Listen = freeAddress(t)
	atlas.script("/userSecurity", reply{delay: 5 * time.Millisecond}.always())
	process, url := rig.startToKill(t)
	publisher := dialNATS(t, url)
	stop := publisher.flow(3 * time.Millisecond)
	for range sized(5, 50) {
		<-time.After(50*time.Millisecond + rand.N(time.Second))
		process.kill()
		process, _ = rig.startToKill(t)
	}
	<-time.After(rand.N(time.Second))
	n := stop()
	process.kill()
	w := rig.beside("worker-2").start(t)
	w.results(n)
	w.settled()
	repeated := w.tally(t, atlas, n)
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
	rig, atlas := standInRig(t)
	rig.cfg.Atlas.Timeout = time.Second
	rig.cfg.NATS.URL = startNATS(t, nil).ClientURL()
	project := hexID(1)
	release := make(chan struct{})
	atlas.script(project, holding(release))
	process, _ := rig.startToKill(t)
	w := &worker{stranger: &stranger{t: t}, rig: rig}
	w.connected(t)
	w.publish("incident", x509Disable(project).String())
	atlas.await(t, project, 1)
	resume := process.pause()
	close(release) // The answer lies in the socket.
	second := rig.beside("worker-2").launch(t)
	second.awaitReady()
	ended := w.resultOf(project)
	if ended.Outcome != jobs.OutcomeRevoked || ended.AttemptsMaybeEffective != 2 || ended.Attempts[1].Worker != "worker-2" {
		t.Errorf("the job is %s, want revoked by worker-2 after an attempt that may have taken effect", encoded(ended))
	}
	second.stop()
	resume()
	// It works on, and has had the time to settle what it held when it has done something else.
	w.publish("incident", x509Disable(hexID(2)).String())
	if other := w.resultOf(hexID(2)); other.Attempts[0].Worker != "worker-1" {
		t.Errorf("the other job is %s", encoded(other))
	}
	w.settled()
	if got := len(w.results(2)); got != 2 || len(atlas.requests(project)) != 2 {
		t.Errorf("%d results, %d calls, want 2 and 2", got, len(atlas.requests(project)))
	}
	record := w.recordOf(project, func(r jobs.Record) bool { return r.Done() })
	if record.FinishedAt != ended.FinishedAt || record.AttemptCount != 2 {
		t.Errorf("the record was changed: %s", encoded(record))
	}
}
