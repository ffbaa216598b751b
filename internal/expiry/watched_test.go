package expiry_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rekey/internal/expiry"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// answer is what the API says of what is watched: when the last one ends (the zero time: none is listed), or why it does not say.
type answer struct {
	ends time.Time
	err  error
}

// TestWatched: what was read last is shown, and no end goes on without an alarm because the API lists it no longer.
func TestWatched(t *testing.T) {
	const (
		read = "read when the last certificate or secret of what is watched ends"
		none = "what is watched has no certificate or secret that has not expired"
		not  = "cannot read when the certificates or secrets of what is watched end; it will be retried"
	)
	failed := func(r jobs.Reason) error { return &jobs.Failure{Reason: r, Err: errors.New("no")} }
	type hour struct {
		in   time.Duration // When the last one ends, from the start of the test; zero: none is listed.
		err  error
		want time.Duration // What is shown then, from the start; zero: not known.
	}
	const nine = 9 * time.Hour
	tests := []struct {
		name   string
		hours  []hour // The first read comes a minute after the start.
		logged []string
		asked  int
	}{
		{name: "renewed", hours: []hour{{in: nine, want: nine}, {in: 2 * nine, want: 2 * nine}}, logged: []string{read, read}, asked: 2},
		{name: "the same", hours: []hour{{in: nine, want: nine}, {in: nine, want: nine}}, logged: []string{read}, asked: 2},
		{
			name:   "expired between two reads",
			hours:  []hour{{in: 90 * time.Minute, want: 90 * time.Minute}, {in: 90 * time.Minute, want: 90 * time.Minute}, {want: 90 * time.Minute}, {want: 90 * time.Minute}},
			logged: []string{read, none}, asked: 4,
		},
		{name: "gone before its end", hours: []hour{{in: nine, want: nine}, {want: 61 * time.Minute}, {want: 61 * time.Minute}}, logged: []string{read, none}, asked: 3},
		{name: "never one", hours: []hour{{want: time.Minute}, {want: time.Minute}}, logged: []string{none}, asked: 2},
		{name: "refused", hours: []hour{{err: failed(jobs.ReasonForbidden)}, {in: nine, want: nine}}, logged: []string{not, read}, asked: 2},
		{name: "refused later", hours: []hour{{in: nine, want: nine}, {err: failed(jobs.ReasonForbidden), want: nine}}, logged: []string{read, not}, asked: 2},
		{name: "away", hours: []hour{{err: failed(jobs.ReasonUnavailable)}, {in: nine, want: nine}}, logged: []string{not, read}, asked: 7},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.InfoLevel)
				start := time.Now()
				a := &api{answers: func() answer {
					now := tt.hours[time.Since(start)/time.Hour]
					if now.in == 0 {
						return answer{err: now.err}
					}
					return answer{ends: start.Add(now.in)}
				}}
				watched := []expiry.Watched{{Name: "batch", Account: "security", Watched: kinds.Watched{ProjectID: "p", Username: "CN=batch"}}}
				w := expiry.New(expiry.Config{Watched: watched, Reader: a, Gauge: a, Every: time.Hour, Logger: zap.New(core)})
				if at, ok := (*a.watched.Load())["batch"]; !ok || !at.IsZero() {
					t.Errorf("before the first read %s is shown", at)
				}
				stop := run(t, w)
				<-time.After(2 * time.Minute)
				for i, hour := range tt.hours {
					if i > 0 {
						<-time.After(time.Hour)
					}
					synctest.Wait()
					var want time.Time
					if hour.want != 0 {
						want = start.Add(hour.want)
					}
					if got := (*a.watched.Load())["batch"]; !got.Equal(want) {
						t.Errorf("in hour %d %s is shown, want %s", i, got, want)
					}
				}
				stop()
				var logged []string
				for _, entry := range logs.All() {
					logged = append(logged, entry.Message)
				}
				if diff := cmp.Diff(tt.logged, logged); diff != "" || a.asked != tt.asked {
					t.Errorf("asked %d times, want %d; logged (-want +got):\n%s", a.asked, tt.asked, diff)
				}
			})
		})
	}
}

// run runs a watch. What it returns stops it, and waits for that.
func run(t *testing.T, w *expiry.Watch) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestOthersWatched: a reload shows what else is watched, and keeps what was read of those that stay.
func TestOthersWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := expiry.Watched{Name: "one", Watched: kinds.Watched{Username: "CN=one"}}
		two := expiry.Watched{Name: "two", Watched: kinds.Watched{MCPConfigID: "two"}}
		var refused atomic.Bool
		first := time.Now().Add(time.Hour)
		a := &api{answers: func() answer {
			if refused.Load() {
				return answer{err: &jobs.Failure{Reason: jobs.ReasonForbidden, Err: errors.New("no")}}
			}
			return answer{ends: first}
		}}
		w := expiry.New(expiry.Config{Watched: []expiry.Watched{one}, Reader: a, Gauge: a, Every: time.Hour, Logger: zap.NewNop()})
		stop := run(t, w)
		<-time.After(2 * time.Minute) // The first read is over.
		refused.Store(true)
		w.Use(nil, []expiry.Watched{one, two}, time.Hour)
		synctest.Wait()
		if diff := cmp.Diff(map[string]time.Time{"one": first, "two": {}}, *a.watched.Load()); diff != "" {
			t.Errorf("shown (-want +got):\n%s", diff)
		}
		w.Use(nil, []expiry.Watched{two}, time.Hour)
		synctest.Wait()
		if diff := cmp.Diff(map[string]time.Time{"two": {}}, *a.watched.Load()); diff != "" {
			t.Errorf("shown (-want +got):\n%s", diff)
		}
		stop()
	})
}
