package stores

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBudget(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	b := NewBudget(conn)
	take := func(b *Budget, scope string, n, limit, want int) {
		t.Helper()
		if got, err := b.Take(t.Context(), scope, n, limit); err != nil || got != want {
			t.Errorf("Take(%s, %d of %d) = %d, %v; want %d", scope, n, limit, got, err, want)
		}
	}
	take(b, "all", 3, 5, 3)
	take(b, "all", 3, 5, 2)
	take(b, "all", 1, 5, 0)
	take(b, "policy.leak", 4, 4, 4) // Scopes do not share.
	if err := b.Return(t.Context(), "all", 2); err != nil {
		t.Error(err)
	}
	take(b, "all", 3, 5, 2)
	// Another worker, or the same after a restart, goes on where this one was.
	other := NewBudget(conn)
	take(other, "all", 1, 5, 0)
	take(other, "all", 1, 6, 1)
	take(other, "policy.leak", 1, 4, 0)
}

// TestBudgetOfManyWorkers: no more than the limit gets through, and not less.
func TestBudgetOfManyWorkers(t *testing.T) {
	t.Parallel()
	conn := connect(t)
	const limit, workers, each = 50, 4, 20
	var got atomic.Int64
	var all sync.WaitGroup
	for range workers {
		b := NewBudget(conn)
		all.Go(func() {
			for range each {
				n, err := b.Take(t.Context(), "all", 1, limit)
				if err != nil {
					t.Error(err)
				}
				got.Add(int64(n))
			}
		})
	}
	all.Wait()
	if got.Load() != limit {
		t.Errorf("%d jobs got through, the limit is %d", got.Load(), limit)
	}
}

func TestBudgetForgets(t *testing.T) {
	t.Parallel()
	now := time.Unix(100*60, 0)
	v := budgetValue{Minutes: map[string]int{"39": 5, "40": 7, "41": 2, "99": 3, "100": -1, "odd": 9}}
	v.forget(now.Add(-budgetSpan))
	if diff := cmp.Diff(map[string]int{"41": 2, "99": 3, "100": -1}, v.Minutes); diff != "" {
		t.Errorf("minutes (-want +got):\n%s", diff)
	}
	if v.sum() != 4 {
		t.Errorf("sum %d", v.sum())
	}
	v.Minutes["100"] = -50
	if v.sum() != 0 {
		t.Errorf("sum %d of more returned than taken", v.sum())
	}
}
