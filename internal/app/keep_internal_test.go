package app

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"rekey/internal/metrics"
)

// TestPartsAreStartedAgain: a part that fails is counted and started again, after a second, and
// not when the worker stops.
func TestPartsAreStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := metrics.New(metrics.Config{Registerer: prometheus.NewRegistry(), Parts: parts()})
		if err != nil {
			t.Fatal(err)
		}
		w := &worker{metrics: m, log: zap.NewNop()}
		ctx, cancel := context.WithCancel(t.Context())
		begun, starts := time.Now(), 0
		w.keep(ctx, partIntake, func(context.Context) error {
			if starts++; starts == 3 {
				cancel()
			}
			return errors.New("the consumer is gone")
		})
		if got := testutil.ToFloat64(m.PartFailures.WithLabelValues(partIntake)); starts != 3 || got != 2 {
			t.Errorf("%d starts, %v failures, want 3 and 2", starts, got)
		}
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}
