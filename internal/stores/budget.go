package stores

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/kv"
)

// budgetSpan is the period of the budget, counted minute by minute.
const budgetSpan = time.Hour

// Budget counts jobs by the hour for all workers, in the bucket <NAMESPACE>_LIMITS, which is
// made when something is counted. It implements jobs.Budget.
type Budget struct {
	conn  *bus.Conn
	store *kv.Store[budgetValue]

	mu sync.Mutex // Keeps the changes of this worker from conflicting with each other.
}

// budgetValue counts the jobs of a scope, by the minute since 1970. The count of a minute may
// be negative: returned jobs are subtracted from the present minute.
type budgetValue struct {
	Minutes map[string]int `json:"minutes"`
}

// NewBudget returns the budget of a namespace.
func NewBudget(c *bus.Conn) *Budget {
	return &Budget{conn: c, store: bus.Store[budgetValue](c, c.Names().Limits())}
}

// Take counts up to n more jobs in a scope, as far as limit allows, and returns how many.
func (b *Budget) Take(ctx context.Context, scope string, n, limit int) (int, error) {
	got := 0
	err := b.change(ctx, scope, func(v *budgetValue, minute string) bool {
		got = max(min(n, limit-v.sum()), 0)
		v.Minutes[minute] += got
		return got > 0
	})
	return got, err
}

// Return subtracts jobs that were counted and not made.
func (b *Budget) Return(ctx context.Context, scope string, n int) error {
	return b.change(ctx, scope, func(v *budgetValue, minute string) bool {
		v.Minutes[minute] -= min(n, v.sum())
		return true
	})
}

// change changes the count of a scope, and retries after a revision conflict. It writes nothing when change returns false.
func (b *Budget) change(ctx context.Context, scope string, change func(v *budgetValue, minute string) bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		value, revision, err := b.store.Load(ctx, scope)
		if err != nil {
			return err
		}
		now := b.conn.Clock().Now()
		value.forget(now.Add(-budgetSpan))
		if !change(&value, strconv.FormatInt(minuteOf(now), 10)) {
			return nil
		}
		_, err = b.store.Save(ctx, scope, value, revision)
		if !errors.Is(err, jobs.ErrConflict) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func minuteOf(at time.Time) int64 { return at.Unix() / 60 }

// forget drops the minutes before a moment.
func (v *budgetValue) forget(before time.Time) {
	if v.Minutes == nil {
		v.Minutes = map[string]int{}
	}
	for text := range v.Minutes {
		minute, err := strconv.ParseInt(text, 10, 64)
		if err != nil || minute <= minuteOf(before) {
			delete(v.Minutes, text)
		}
	}
}

// sum is the count of all minutes, at least 0.
func (v *budgetValue) sum() int {
	total := 0
	for _, n := range v.Minutes {
		total += n
	}
	return max(total, 0)
}
