package readiness

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// mustChecks builds checks that are known to be right.
func mustChecks(t *testing.T, checks ...Check) *Checks {
	t.Helper()
	built, err := New(checks...)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

func TestCheckTimeout(t *testing.T) {
	obey := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	late := func(context.Context) error {
		<-time.After(time.Minute)
		return nil
	}
	tests := []struct {
		name string
		run  func(context.Context) error
	}{
		{"obeys its context", obey},
		{"ignores its context", late},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				checks := mustChecks(t,
					Check{Name: "slow", Func: tt.run},
					Check{Name: "fine", Func: func(context.Context) error { return nil }},
				)
				began := time.Now()
				report := checks.Report(t.Context())
				want := []Result{{Name: "slow", Error: "no answer within 2s", Since: report.CheckedAt}, {Name: "fine", OK: true}}
				if diff := cmp.Diff(want, report.Checks); diff != "" || report.Status != NotReady {
					t.Errorf("%s, results (-want +got):\n%s", report.Status, diff)
				}
				if took := time.Since(began); took != checkTimeout {
					t.Errorf("took %v, want %v", took, checkTimeout)
				}
				if !checks.list[0].acquire(t.Context()) {
					t.Error("the check is still held after it ended")
				}
			})
		})
	}
}

func TestCheckNeverRunsTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		checks := mustChecks(t, Check{Name: "stuck", Func: func(context.Context) error {
			runs.Add(1)
			<-time.After(time.Minute)
			return nil
		}})
		wants := []string{
			"no answer within 2s",
			"an earlier check still runs: no answer within 2s",
			"an earlier check still runs: no answer within 2s",
		}
		for i, want := range wants {
			results := checks.Report(t.Context()).Checks
			if results[0].Error != want {
				t.Errorf("run %d: error %q, want %q", i+1, results[0].Error, want)
			}
		}
		if runs.Load() != 1 {
			t.Errorf("the check began %d times, want once", runs.Load())
		}
		<-time.After(time.Minute)
		if !checks.list[0].acquire(t.Context()) {
			t.Error("the check is still held after it ended")
		}
	})
}

func TestCheckEndsWithTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("client gone")
		checks := mustChecks(t, Check{Name: "slow", Func: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		time.AfterFunc(time.Second, func() { cancel(gone) })
		began := time.Now()
		report := checks.Report(ctx)
		if report.Status != NotReady || report.Checks[0].Error != gone.Error() {
			t.Errorf("report %+v; want the cause", report)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
	})
}

func TestNewRejects(t *testing.T) {
	fine := func(context.Context) error { return nil }
	for want, checks := range map[string][]Check{
		"check 1 has no name":                         {{Func: fine}},
		`check "a" has no function`:                   {{Name: "a"}},
		`check "a" is listed twice`:                   {{Name: "a", Func: fine}, {Name: "a", Func: fine}},
		`check "a" needs "b", which is not before it`: {{Name: "a", Needs: "b", Func: fine}, {Name: "b", Func: fine}},
	} {
		if _, err := New(checks...); err == nil || err.Error() != want {
			t.Errorf("New = %v, want %q", err, want)
		}
	}
}

// TestSince: a check fails since it was first seen to, until it is seen to be well; one that asks and goes away has seen nothing.
func TestSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fails atomic.Pointer[error]
		checks := mustChecks(t, Check{Name: "a", Func: func(ctx context.Context) error { return errors.Join(*fails.Load(), ctx.Err()) }})
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		begun := time.Now()
		for i, step := range []struct {
			gone  bool // The one who asks.
			err   error
			since time.Duration // Of the beginning; -1: it does not fail.
		}{
			{false, nil, -1},
			{true, nil, time.Minute},
			{false, errors.New("first"), 2 * time.Minute},
			{false, errors.New("second"), 2 * time.Minute},
			{false, nil, -1},
			{false, errors.New("third"), 5 * time.Minute},
		} {
			fails.Store(&step.err)
			ctx := t.Context()
			if step.gone {
				ctx = gone
			}
			report := checks.Report(ctx)
			if failing := report.Failing(); len(failing) > 0 != (step.since >= 0) {
				t.Errorf("step %d: %+v", i, report)
			} else if len(failing) > 0 && !failing[0].Since.Equal(begun.Add(step.since)) {
				t.Errorf("step %d: it fails since %s, want %s after %s", i, failing[0].Since, step.since, begun)
			}
			<-time.After(time.Minute)
		}
	})
}

// TestNeeds: while a check fails, those that need it are not known, and since when; what one of them found wrong is said still.
func TestNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Pointer[error]
		lost, full := errors.New("lost"), errors.New("full")
		checks := mustChecks(t,
			Check{Name: "nats", Func: func(context.Context) error { return *away.Load() }},
			Check{Name: "streams", Needs: "nats", Func: func(context.Context) error { return nil }},
			Check{Name: "storage", Needs: "nats", Func: func(context.Context) error { return full }},
			Check{Name: "accounts", Func: func(context.Context) error { return nil }},
		)
		begun := time.Now().UTC()
		lostAt := begun.Add(time.Minute)
		storage, accounts := Result{Name: "storage", Error: "full", Since: begun}, Result{Name: "accounts", OK: true}
		well := []Result{{Name: "nats", OK: true}, {Name: "streams", OK: true}, storage, accounts}
		ill := []Result{{Name: "nats", Error: "lost", Since: lostAt}, {Name: "streams", Error: "not known while the check nats fails", Since: lostAt}, storage, accounts}
		for i, step := range []struct {
			err  error
			want []Result
		}{{nil, well}, {lost, ill}, {lost, ill}, {nil, well}} {
			away.Store(&step.err)
			if diff := cmp.Diff(step.want, checks.Report(t.Context()).Checks); diff != "" {
				t.Errorf("step %d (-want +got):\n%s", i, diff)
			}
			<-time.After(time.Minute)
		}
	})
}

// TestSoon: a slow check does not hold up what was found before, and where nothing was, it is waited for.
func TestSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := time.Second
		checks := mustChecks(t, Check{Name: "a", Func: func(context.Context) error { <-time.After(took); return nil }})
		begun := time.Now()
		first := checks.Soon(t.Context(), time.Millisecond)
		if first.Status != Ready || time.Since(begun) != took {
			t.Errorf("the first is %+v after %s", first, time.Since(begun))
		}
		begun = time.Now()
		if diff := cmp.Diff(first, checks.Soon(t.Context(), time.Millisecond)); diff != "" || time.Since(begun) != time.Millisecond {
			t.Errorf("after %s:\n%s", time.Since(begun), diff)
		}
		if err := checks.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if got := checks.Soon(t.Context(), time.Millisecond); got.Status != Stopping || len(got.Checks) > 0 {
			t.Errorf("while stopping: %+v", got)
		}
	})
}
