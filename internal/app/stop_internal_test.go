package app

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// A part that does not stop costs its limit, and the parts below it are stopped all the same.
func TestStopHasDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s stack
		var stopped []string
		step := func(name string, err error) func(context.Context) error {
			return func(context.Context) error { stopped = append(stopped, name); return err }
		}
		never := make(chan struct{})
		s.push("connection", time.Second, step("connection", nil))
		s.push("deaf part", 3*time.Second, func(context.Context) error { <-never; return nil })
		s.push("part that obeys", 2*time.Second, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		s.push("part that fails", time.Second, step("part that fails", errors.New("broken pipe")))
		begun := time.Now()
		err := s.stop(zap.NewNop())
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("stopping took %s, want 5s", took)
		}
		if got := strings.Join(stopped, ", "); got != "part that fails, connection" {
			t.Errorf("stopped %s", got)
		}
		for _, want := range []string{"stopping the part that fails: broken pipe", "stopping the part that obeys: ", "stopping the deaf part: not done within 3s"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the error %v does not say %q", err, want)
			}
		}
		if s.stop(zap.NewNop()) != nil {
			t.Error("a second stop has an error")
		}
		close(never)
	})
}
