package bus

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/layout"
)

// fill puts n jobs into a lane.
func (r *rig) fill(t *testing.T, lane jobs.Lane, n int) {
	t.Helper()
	for i := range n {
		r.enqueue(t, newJob(t, fmt.Sprintf("%s-%d", lane, i), lane))
	}
}

func TestFeedKeepsMessagesAlive(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fill(t, jobs.LaneBulk, 3)
	const ackWait = 2 * time.Second
	f := newPuller(r.conn, r.consumer(t, jobs.LaneBulk, ackWait), 8, zap.NewNop())
	if f.renew != ackWait/3 {
		t.Errorf("renews every %s", f.renew)
	}
	f.renew = ackWait / 20 // A slow machine may be late.
	handled := make(chan *delivery, 100)
	release := make(chan struct{})
	stop := background(t, func(ctx context.Context) error {
		f.serve(ctx, 1, func(h *delivery) {
			handled <- h
			<-release
			h.drop()
			if err := settle(ctx, r.conn.nc, h.Msg, jobs.Settlement{Done: true}); err != nil {
				t.Error(err)
			}
		})
		return nil
	})
	// One is in hand and two wait behind it, longer than the AckWait.
	receive(t, "the first message", handled)
	eventually(t, "the others are pulled", func() bool { return len(f.out) == 2 })
	timer := time.NewTimer(ackWait + ackWait/2)
	defer timer.Stop()
	<-timer.C
	close(release)
	for range 2 {
		if h := receive(t, "a message", handled); h.redelivered() {
			t.Error("a message that was held was redelivered")
		}
	}
	stop()
	if got := r.stored(t, r.names.Jobs()); got != 0 || len(handled) != 0 {
		t.Errorf("%d messages are left, %d came too often", got, len(handled))
	}
}

func TestFeedPullsNoMoreThanItsDepth(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.fill(t, jobs.LaneBulk, 40)
	const depth = 4
	f := newPuller(r.conn, r.consumer(t, jobs.LaneBulk, time.Hour), depth, zap.NewNop())
	ctx, cancel := context.WithCancel(t.Context())
	var puller sync.WaitGroup
	puller.Go(func() { f.run(ctx) })
	check := func(taken int) {
		t.Helper()
		eventually(t, "the feed is full", func() bool { return len(f.out) >= depth/2+1 })
		if got := r.unsettled(t, r.names.Jobs(), layout.ConsumerOf(jobs.LaneBulk)); got > depth+taken {
			t.Errorf("%d messages are held after %d were taken", got, taken)
		}
	}
	check(0)
	for taken := 1; taken <= 10; taken++ {
		<-f.out
		f.took()
		check(taken)
	}
	cancel()
	puller.Wait()
	rest := 0
	for range f.out { // It is closed.
		rest++
	}
	if got := r.unsettled(t, r.names.Jobs(), layout.ConsumerOf(jobs.LaneBulk)); got != 10+rest {
		t.Errorf("the server has sent %d messages, %d arrived: some are lost until their AckWait is over", got, 10+rest)
	}
}

// Whatever the server has sent when a feed stops is handed over: a message that no worker
// holds would only be redelivered after its AckWait.
func TestFeedLosesNothingWhenItStops(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cons := r.consumer(t, jobs.LaneBulk, time.Hour)
	stopFilling := background(t, func(ctx context.Context) error {
		for i := 0; ctx.Err() == nil; i++ {
			job := newJob(t, fmt.Sprint(i), jobs.LaneBulk)
			if err := NewQueue(r.conn).Enqueue(context.WithoutCancel(ctx), job); err != nil {
				return err
			}
		}
		return nil
	})
	seen := 0
	for round := range 3 {
		f := newPuller(r.conn, cons, 16, zap.NewNop())
		ctx, cancel := context.WithCancel(t.Context())
		inRound := 0
		f.serve(ctx, 1, func(h *delivery) {
			if inRound++; inRound == 20 {
				cancel()
			}
			h.drop()
			if err := settle(ctx, r.conn.nc, h.Msg, jobs.Settlement{Delay: time.Hour}); err != nil {
				t.Error(err)
			}
		})
		cancel()
		seen += inRound
		if got := r.unsettled(t, r.names.Jobs(), layout.ConsumerOf(jobs.LaneBulk)); got != seen {
			t.Errorf("round %d: the server has sent %d messages, %d were handled", round, got, seen)
		}
	}
	stopFilling()
}

func TestFeedGoesOnAfterAnError(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cons := r.consumer(t, jobs.LaneBulk, time.Hour)
	f := newPuller(r.conn, cons, 4, r.log)
	ctx, cancel := context.WithCancel(t.Context())
	var puller sync.WaitGroup
	puller.Go(func() { f.run(ctx) })
	if err := r.conn.js.DeleteConsumer(t.Context(), r.names.Jobs(), layout.ConsumerOf(jobs.LaneBulk)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the feed complains", func() bool { return r.logs.FilterMessage("pulling messages").Len() > 0 })
	r.consumer(t, jobs.LaneBulk, time.Hour)
	r.fill(t, jobs.LaneBulk, 1)
	receive(t, "a message", f.out)
	cancel()
	puller.Wait()
}
