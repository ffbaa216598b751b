package httpserver

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
func mustChecks(t *testing.T, checks ...Check) []*check {
	t.Helper()
	built, err := newChecks(checks)
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
				results, ok := runChecks(t.Context(), checks)
				want := []result{{Name: "slow", Error: "no answer within 2s"}, {Name: "fine", OK: true}}
				if diff := cmp.Diff(want, results); diff != "" || ok {
					t.Errorf("ok = %v, results (-want +got):\n%s", ok, diff)
				}
				if took := time.Since(began); took != checkTimeout {
					t.Errorf("took %v, want %v", took, checkTimeout)
				}
				if !checks[0].acquire(t.Context()) {
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
			results, _ := runChecks(t.Context(), checks)
			if results[0].Error != want {
				t.Errorf("run %d: error %q, want %q", i+1, results[0].Error, want)
			}
		}
		if runs.Load() != 1 {
			t.Errorf("the check began %d times, want once", runs.Load())
		}
		<-time.After(time.Minute)
		if !checks[0].acquire(t.Context()) {
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
		results, ok := runChecks(ctx, checks)
		if ok || results[0].Error != gone.Error() {
			t.Errorf("results %+v, %v; want the cause", results, ok)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
	})
}
