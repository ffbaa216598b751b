package jobs

import (
	"context"
	"sync"
)

// turns let the events of one target be taken in one after another in this worker: at the same time they would only make each
// other start over, and be put back for seconds.
type turns struct {
	mu   sync.Mutex
	keys map[string]*turn
}

// turn is the place of those that want one key.
type turn struct {
	free chan struct{} // Holds a token while no one has the turn.
	want int           // Who has the turn or waits for it.
}

// take waits for the turn of a key and returns what gives it back and whether no other one wanted it, or the cause of ctx's end.
func (t *turns) take(ctx context.Context, key string) (leave func(), alone bool, err error) {
	t.mu.Lock()
	if t.keys == nil {
		t.keys = map[string]*turn{}
	}
	one, ok := t.keys[key]
	if !ok {
		one = &turn{free: make(chan struct{}, 1)}
		one.free <- struct{}{}
		t.keys[key] = one
	}
	one.want++
	alone = one.want == 1
	t.mu.Unlock()
	select {
	case <-one.free:
		return func() { one.free <- struct{}{}; t.left(key, one) }, alone, nil
	case <-ctx.Done():
		t.left(key, one)
		return nil, false, context.Cause(ctx)
	}
}

func (t *turns) left(key string, one *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one.want--; one.want == 0 {
		delete(t.keys, key)
	}
}
