package bus

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/layout"
)

// consumer makes a consumer of a lane with an AckWait of its own.
func (r *rig) consumer(t *testing.T, lane jobs.Lane, ackWait time.Duration) jetstream.Consumer {
	t.Helper()
	cons, err := r.conn.js.CreateOrUpdateConsumer(t.Context(), r.names.Jobs(), jetstream.ConsumerConfig{
		Durable: layout.ConsumerOf(lane), FilterSubject: r.names.Lane(lane), AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: ackWait, MaxDeliver: -1, MaxAckPending: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return cons
}

// checkConsumers makes the consumers of checks.
func (r *rig) checkConsumers(t *testing.T) {
	t.Helper()
	for _, want := range layout.CheckConsumers(r.names) {
		if _, err := r.conn.consumer(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
}

// next waits for the next message of a consumer.
func next(t *testing.T, cons jetstream.Consumer) jetstream.Msg {
	t.Helper()
	msg, err := cons.Next(jetstream.FetchMaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func deliveries(t *testing.T, msg jetstream.Msg) uint64 {
	t.Helper()
	meta, err := msg.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	return meta.NumDelivered
}

func TestSettleDone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.enqueue(t, newJob(t, "job1", jobs.LaneUrgent))
	cons := r.consumer(t, jobs.LaneUrgent, time.Hour)
	msg := next(t, cons)
	ended, cancel := context.WithCancel(t.Context())
	cancel() // A worker that stops settles all the same.
	if err := settle(ended, r.conn.nc, msg, jobs.Settlement{Done: true, Delay: time.Hour}); err != nil {
		t.Fatal(err)
	}
	// The server has confirmed it: there is nothing to wait for.
	if got := r.stored(t, r.names.Jobs()); got != 0 {
		t.Errorf("the work queue holds %d messages", got)
	}
	if got := r.unsettled(t, r.names.Jobs(), layout.ConsumerOf(jobs.LaneUrgent)); got != 0 {
		t.Errorf("%d messages are unsettled", got)
	}
}

func TestSettlePutBack(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		delay time.Duration
	}{
		{"at once", 0},
		{"in the past", -time.Hour},
		{"later", 300 * time.Millisecond},
		{"later than the AckWait", 900 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.enqueue(t, newJob(t, "job1", jobs.LaneUrgent))
			cons := r.consumer(t, jobs.LaneUrgent, 500*time.Millisecond)
			msg := next(t, cons)
			settled := time.Now()
			if err := settle(t.Context(), r.conn.nc, msg, jobs.Settlement{Delay: tt.delay}); err != nil {
				t.Fatal(err)
			}
			again := next(t, cons)
			if waited := time.Since(settled); waited < tt.delay {
				t.Errorf("it was redelivered after %s, want %s", waited, tt.delay)
			}
			if got := deliveries(t, again); got != 2 {
				t.Errorf("delivery %d, want 2", got)
			}
			if string(again.Data()) != string(msg.Data()) {
				t.Error("another message came")
			}
		})
	}
}

func TestSettleWithoutConfirmation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.enqueue(t, newJob(t, "job1", jobs.LaneUrgent))
	msg := next(t, r.consumer(t, jobs.LaneUrgent, time.Hour))
	if err := r.conn.js.DeleteStream(t.Context(), r.names.Jobs()); err != nil {
		t.Fatal(err)
	}
	err := settle(t.Context(), r.conn.nc, msg, jobs.Settlement{Done: true})
	if err == nil || !strings.Contains(err.Error(), "settling message rekey.v1.job.urgent.x509-disable") {
		t.Errorf("the error is %v", err)
	}
}

// A sign of life behind a put-back would make the server wait for the AckWait instead of
// the delay. Here the AckWait is an hour: a message that is redelivered has kept its delay.
func TestNoSignOfLifeAfterPutBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.enqueue(t, newJob(t, "job1", jobs.LaneUrgent))
	cons := r.consumer(t, jobs.LaneUrgent, time.Hour)
	f := newPuller(r.conn, cons, 1, zap.NewNop())
	f.renew = 100 * time.Microsecond
	alive, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.keepAlive(alive) }()
	w := r.workers(&runner{run: func(context.Context, jobs.Delivery) (jobs.Settlement, error) {
		return jobs.Settlement{Delay: 10 * time.Millisecond}, nil
	}}, 1)
	for round := range uint64(20) {
		h, err := f.take(next(t, cons))
		if err != nil {
			t.Fatal(err)
		}
		if h.meta.NumDelivered != round+1 {
			t.Errorf("delivery %d, want %d", h.meta.NumDelivered, round+1)
		}
		w.handle(t.Context(), t.Context(), h)
	}
	next(t, cons)
	cancel()
	receive(t, "the keeper", done)
}
