package backoff

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDelay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		first, longest time.Duration
		want           []time.Duration // After one failure, two, and so on.
	}{
		{"doubles up to the longest", time.Second, 5 * time.Second, []time.Duration{1e9, 2e9, 4e9, 5e9, 5e9}},
		{"the longest is a doubling", time.Second, 4 * time.Second, []time.Duration{1e9, 2e9, 4e9, 4e9}},
		{"the first is too long", 9 * time.Second, 4 * time.Second, []time.Duration{4e9, 4e9}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for i, want := range tt.want {
				if got := Delay(tt.first, tt.longest, i+1); got != want {
					t.Errorf("after %d failures %s, want %s", i+1, got, want)
				}
			}
			if got, want := Delay(tt.first, tt.longest, 0), tt.want[0]; got != want {
				t.Errorf("without a failure %s, want %s", got, want)
			}
			if got := Delay(tt.first, tt.longest, 1<<40); got != tt.longest {
				t.Errorf("after very many failures %s, want %s", got, tt.longest)
			}
		})
	}
}

func TestSleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, stopped := time.Now(), errors.New("stopped")
		if err := Sleep(t.Context(), time.Minute); err != nil || time.Since(start) != time.Minute {
			t.Errorf("slept %s: %v", time.Since(start), err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(stopped) })
		if err := Sleep(ctx, time.Minute); !errors.Is(err, stopped) || time.Since(start) != time.Minute+time.Second {
			t.Errorf("slept %s: %v", time.Since(start), err)
		}
	})
}
