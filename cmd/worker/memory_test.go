package main

import (
	"context"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		live uint64
		want int64
	}{
		{"nothing in use", 0, memoryBase},
		{"little in use", 40 << 20, memoryBase},
		{"100,000 jobs", 75 << 20, memoryBase},
		{"more than fits", 200 << 20, 250 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := memoryLimit(tt.live); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// The limit is the process's own, and so is this test's.
func TestLimitMemory(t *testing.T) { //nolint:paralleltest // As the comment says.
	tests := []struct {
		name string
		env  string
		want bool
	}{
		{"by itself", "", true},
		{"the operator has set a limit", "GOMEMLIMIT", false},
		{"the operator has set a share", "GOGC", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &cli{lookupEnv: func(name string) (string, bool) { return "50", name == tt.env }}
			ctx, cancel := context.WithCancel(t.Context())
			var limited bool
			c.limitMemory(ctx, func(int64) { limited = true; cancel() })
			cancel()
			if limited != tt.want {
				t.Errorf("limited %v, want %v", limited, tt.want)
			}
		})
	}
}
