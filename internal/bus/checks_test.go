package bus

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"rekey/internal/audit"
	"rekey/internal/jobs"
)

// steps notes what is asked of a checker, with when.
type steps chan string

func (s steps) Check(_ context.Context, d jobs.Delivery) (jobs.Settlement, error) {
	s <- "check " + d.Job.ID
	if d.Count == 1 {
		return jobs.Settlement{}, errors.New("the ledger does not answer")
	}
	return jobs.Settlement{Done: true}, nil
}

func (s steps) Watch(_ context.Context, d jobs.Delivery) (jobs.Settlement, error) {
	s <- "watch " + d.Job.ID
	return jobs.Settlement{Done: true}, nil
}

// TestChecks: checks and watches come to their own step, one that fails is redelivered, and all are settled.
func TestChecks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	announcer := NewAnnouncer(r.conn, audit.NewChain("w", time.Now), audit.NewChain("w/proofs", time.Now), turnedSealer{})
	for _, verdict := range []jobs.Verdict{jobs.VerdictPending, jobs.VerdictVerified} {
		job, record := proven(t, verdict)
		if err := announcer.EnqueueCheck(t.Context(), job, record); err != nil {
			t.Fatal(err)
		}
	}
	asked, asking := make(steps, 10), atomic.Int64{}
	begun := time.Now()
	c := &Checks{Conn: r.conn, Checker: asked, Slots: 1, Sealer: turnedSealer{}, Logger: r.log, Busy: func() bool { asking.Add(1); return asking.Load() <= 2 }}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	seen := map[string]int{}
	for range 3 {
		seen[<-asked]++
	}
	if seen["check job1"] != 2 || seen["watch job1"] != 1 || time.Since(begun) < busyPause {
		t.Errorf("asked %v after %s, while jobs waited", seen, time.Since(begun))
	}
	eventually(t, "all to be settled", func() bool { return r.stored(t, r.names.Jobs()) == 0 })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
