package memory

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

func TestCalm(t *testing.T) {
	t.Parallel()
	var flood calm
	var allocated uint64
	overs := func(seconds int, each uint64) (n int) {
		for range seconds {
			allocated += each
			if flood.over(allocated) {
				n++
			}
		}
		return n
	}
	steps := []struct {
		name    string
		seconds int
		each    uint64
		want    int
	}{
		{"a flood", 100, calmBytes + 1, 0},
		{"not calm for long enough", calmAfter - 1, calmBytes, 0},
		{"a moment of work", 1, 2 * calmBytes, 0},
		{"calm for a long time", 1000, calmBytes, 1},
		{"the next flood", 5, calmBytes + 1, 0},
		{"calm again", calmAfter, 0, 1},
	}
	for _, s := range steps {
		if got := overs(s.seconds, s.each); got != s.want {
			t.Errorf("%s: over %d times, want %d", s.name, got, s.want)
		}
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
			env := func(name string) (string, bool) { return "50", name == tt.env }
			ctx, cancel := context.WithCancel(t.Context())
			var limited bool
			limitMemory(ctx, env, func(int64) { limited = true; cancel() })
			cancel()
			if limited != tt.want {
				t.Errorf("limited %v, want %v", limited, tt.want)
			}
		})
	}
}
