package bus

import (
	"testing"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/layout"
)

// TestHandOverAgain: what a killed worker held comes at once, and not when its time is over.
func TestHandOverAgain(t *testing.T) {
	t.Parallel()
	for _, patience := range []time.Duration{10 * time.Millisecond, time.Second} {
		t.Run(patience.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			cons, err := r.conn.consumer(t.Context(), layout.LaneConsumer(r.names, jobs.LaneNormal))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range layout.Consumers(r.names) {
				if _, err := r.conn.consumer(t.Context(), want); err != nil {
					t.Fatal(err)
				}
			}
			r.enqueue(t, newJob(t, "held", jobs.LaneNormal))
			held := next(t, cons)
			begun := time.Now()
			if err := r.conn.HandOverAgain(t.Context(), patience); err != nil {
				t.Fatal(err)
			}
			again := next(t, cons)
			if took := time.Since(begun); string(again.Data()) != string(held.Data()) || took > layout.AckWait/2 {
				t.Errorf("%s came after %s", again.Data(), took)
			}
			if info, err := cons.Info(t.Context()); err != nil || info.Config.AckWait != layout.AckWait {
				t.Errorf("afterwards its ack_wait is %s (%v)", info.Config.AckWait, err)
			}
		})
	}
}
