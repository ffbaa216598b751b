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
	"go.uber.org/zap/zaptest/observer"

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

// TestFailingParts: a part that fails, is started again and fails again for ten seconds makes the worker not ready, with its
// name and cause, until it has run well for a while.
func TestFailingParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := metrics.New(metrics.Config{Registerer: prometheus.NewRegistry(), Parts: parts()})
		if err != nil {
			t.Fatal(err)
		}
		core, logs := observer.New(zap.DebugLevel)
		w := &worker{metrics: m, log: zap.New(core)}
		gone, mended := errors.New("the consumer is gone"), make(chan struct{})
		ended := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(ended)
			w.keep(ctx, partIntake, func(ctx context.Context) error {
				select {
				case <-mended:
					<-ctx.Done()
				default:
				}
				return gone
			})
		}()
		check := func(after time.Duration, want string) {
			t.Helper()
			<-time.After(after)
			got := ""
			if err := w.parts.check(); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("it says %q, want %q", got, want)
			}
		}
		check(9500*time.Millisecond, "")
		check(time.Second, "intake has failed 11 times in 11s: the consumer is gone")
		check(2*time.Minute, "intake has failed 131 times in 2m11s: the consumer is gone")
		if got := logs.FilterMessage("a part failed and is started again").Len(); got != 3 {
			t.Errorf("%d lines in two minutes, want 3", got)
		}
		close(mended)
		check(10*time.Second, "intake has failed 131 times in 2m21s: the consumer is gone")
		check(10*time.Second, "")
		cancel()
		<-ended
		check(0, "")
	})
}

// TestPartThatFailedOnce: a part that runs well after one failure does not make the worker unready.
func TestPartThatFailedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s supervision
		p := &part{name: partIntake}
		s.begin(p)
		s.fail(p, errors.New("once"))
		s.begin(p)
		for range 30 {
			<-time.After(time.Second)
			if err := s.check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
