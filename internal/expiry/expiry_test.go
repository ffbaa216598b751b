package expiry_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rekey/internal/expiry"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// api answers with what it is set to, and notes what is shown.
type api struct {
	ends  time.Time
	err   error
	asked int
	shown map[string]time.Time

	answers func() answer                        // What it says of what is watched.
	watched atomic.Pointer[map[string]time.Time] // What is shown of that.
}

func (a *api) SecretEnd(context.Context, string) (time.Time, string, error) {
	a.asked++
	return a.ends, "by the end of its value", a.err
}

func (a *api) WatchedEnd(context.Context, string, kinds.Watched) (time.Time, error) {
	a.asked++
	answer := a.answers()
	return answer.ends, answer.err
}

func (a *api) SetWatchedExpiries(ends map[string]time.Time) { a.watched.Store(&ends) }

func (a *api) SetSecretExpiries(ends map[string]time.Time) { a.shown = ends }

// TestWatch: what the API says counts; else what is configured. Each is logged once.
func TestWatch(t *testing.T) {
	configured := time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC)
	other := configured.Add(48 * time.Hour)
	failed := func(r jobs.Reason) error { return &jobs.Failure{Reason: r, Err: errors.New("no")} }
	tests := []struct {
		name   string
		ends   time.Time
		err    error
		want   time.Time
		logged string
		asked  int // In 13 hours.
	}{
		{name: "as configured", ends: configured.Add(10 * time.Hour), want: configured.Add(10 * time.Hour), logged: "read when the account's secret ends", asked: 3},
		{name: "differs", ends: other, want: other, logged: "secret_expires_at differs from what the API says, which is used", asked: 3},
		{name: "no role", err: failed(jobs.ReasonForbidden), want: configured, logged: "the API does not let the account read when its secret ends: secret_expires_at counts, where it is set", asked: 3},
		{name: "away", err: failed(jobs.ReasonUnavailable), want: configured, logged: "cannot read when the account's secret ends; it will be retried", asked: 13*6 + 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.InfoLevel)
				a := &api{ends: tt.ends, err: tt.err, shown: map[string]time.Time{"security": configured}}
				list := []expiry.Account{{Name: "security", Readable: true, Configured: configured}, {Name: "legacy"}}
				w := expiry.New(expiry.Config{Accounts: list, Reader: a, Gauge: a, Every: 6 * time.Hour, Logger: zap.New(core)})
				ctx, stop := context.WithTimeout(t.Context(), 13*time.Hour+2*time.Minute)
				defer stop()
				if err := w.Run(ctx); err != nil {
					t.Fatal(err)
				}
				if got := a.shown["security"]; !got.Equal(tt.want) || a.asked != tt.asked || !a.shown["legacy"].IsZero() {
					t.Errorf("shown %v after %d reads, want %s after %d", a.shown, a.asked, tt.want, tt.asked)
				}
				if all := logs.All(); len(all) != 1 || all[0].Message != tt.logged {
					t.Errorf("logged %v", all)
				}
			})
		})
	}
}

// TestChanged: other accounts are read at once, and what was read of the old ones is forgotten.
func TestChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC)
		a := &api{ends: ends}
		w := expiry.New(expiry.Config{Accounts: []expiry.Account{{Name: "old", Readable: true}}, Reader: a, Gauge: a, Every: 6 * time.Hour, Logger: zap.NewNop()})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		<-time.After(2 * time.Minute) // The first read is over.
		w.Use([]expiry.Account{{Name: "new", Readable: true}}, nil, 6*time.Hour)
		synctest.Wait()
		if _, old := a.shown["old"]; old || !a.shown["new"].Equal(ends) || a.asked != 2 {
			t.Errorf("shown %v after %d reads", a.shown, a.asked)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestNever: nothing is read until that is changed, and again from then on.
func TestNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		configured, ends := time.Now().Add(100*time.Hour), time.Now().Add(200*time.Hour)
		a := &api{ends: ends}
		list := []expiry.Account{{Name: "security", Readable: true, Configured: configured}}
		w := expiry.New(expiry.Config{Accounts: list, Reader: a, Gauge: a, Logger: zap.NewNop()})
		stop := run(t, w)
		defer stop()
		holds := func(asked int, want time.Time) {
			t.Helper()
			<-time.After(3 * time.Hour)
			synctest.Wait()
			known := w.Ends()[kinds.EndingSecret]
			if a.asked != asked || !a.shown["security"].Equal(want) || !known["security"].Equal(want) {
				t.Errorf("asked %d times, shown %v, known %v; want %d times and %s", a.asked, a.shown, known, asked, want)
			}
		}
		holds(0, configured)
		w.Use(list, nil, 2*time.Hour)
		holds(2, ends)
		w.Use(list, nil, 0)
		holds(2, configured)
	})
}
