package bus

import (
	"testing"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/layout"
	"rekey/internal/names"
	"rekey/internal/natsserver"
)

func TestEmbeddedMaxPayload(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]int64{0: 8 << 20, 1 << 20: 1 << 20, 1 << 40: 64 << 20} {
		conn := dial(t, ConnectConfig{Embedded: startServer(t, natsserver.Config{StoreDir: t.TempDir(), MaxPayload: size})})
		if got := conn.nc.MaxPayload(); got != want {
			t.Errorf("%d makes a largest payload of %d, want %d", size, got, want)
		}
	}
}

// A worker whose embedded server ends and comes back has lost nothing: what waited, waits.
func TestEmbeddedRestartKeepsWhatWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const delay = 3 * time.Second
	const rounding = time.Second // The server stores moments in whole seconds.
	var putBack time.Time
	for round := range 2 {
		r := &rig{server: startServer(t, natsserver.Config{StoreDir: dir}), names: names.New("rekey"), log: zap.NewNop()}
		r.conn = dial(t, ConnectConfig{Embedded: r.server})
		if err := r.conn.Ensure(t.Context(), layout.Layout{Names: r.names}); err != nil {
			t.Fatal(err)
		}
		cons := r.consumer(t, jobs.LaneUrgent, layout.AckWait)
		if round == 0 {
			r.fill(t, jobs.LaneUrgent, 1)
			r.publish(t, jobs.ClassIncident, plain, nil)
			putBack = time.Now()
		}
		msg := next(t, cons)
		if waited := time.Since(putBack); round == 1 && waited < delay-rounding {
			t.Errorf("it was redelivered after %s", waited)
		}
		if got := deliveries(t, msg); got != uint64(round)+1 {
			t.Errorf("round %d: delivery %d", round, got)
		}
		if got := r.stored(t, r.names.Events()); got != 1 {
			t.Errorf("round %d: %d events are stored", round, got)
		}
		if err := settle(t.Context(), r.conn.nc, msg, jobs.Settlement{Delay: delay}); err != nil {
			t.Fatal(err)
		}
		r.conn.Close()
		r.server.Stop()
	}
}
