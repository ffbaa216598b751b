// Package memory keeps the heap of a worker small, also after a flood.
package memory

import (
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// How much memory the worker's heap may fill before the garbage collector works harder than
// it would by itself. The collector lets a heap grow to twice of what is in use, which is
// much when a flood has left 100,000 jobs behind; so it is held below memoryBase, or below
// a quarter more than what is in use where that is more: near the limit it would work all the
// time.
const (
	memoryBase  = 136 << 20
	memoryEvery = time.Second
)

// After a flood the collector has nothing to do for minutes, and what the flood needed stays.
// So it is collected and given back to the system once calmAfter seconds in a row have
// allocated less than calmBytes each: the server lets go of its buffers after ten seconds.
const (
	calmAfter = 15
	calmBytes = 2 << 20
)

// calm tells when a flood is over.
type calm struct {
	allocated uint64 // Bytes, since the process began.
	seconds   int    // In a row that were calm.
}

// over takes, each second, how many bytes were allocated since the process began, and
// reports, once after each flood, that it is over.
func (c *calm) over(allocated uint64) bool {
	if allocated-c.allocated > calmBytes {
		c.seconds = 0
	} else if c.seconds <= calmAfter {
		c.seconds++
	}
	c.allocated = allocated
	return c.seconds == calmAfter
}

// limitMemory sets the limit, over and over, until ctx ends. It does nothing when the
// operator has set GOMEMLIMIT or GOGC.
func limitMemory(ctx context.Context, env func(string) (string, bool), set func(bytes int64)) {
	for _, name := range []string{"GOMEMLIMIT", "GOGC"} {
		if value, ok := env(name); ok && value != "" {
			return
		}
	}
	ticker := time.NewTicker(memoryEvery)
	defer ticker.Stop()
	heap := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	var flood calm
	for ctx.Err() == nil {
		metrics.Read(heap)
		set(memoryLimit(heap[0].Value.Uint64()))
		if flood.over(heap[1].Value.Uint64()) {
			debug.FreeOSMemory()
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// memoryLimit is the limit of a heap of which so many bytes are in use.
func memoryLimit(live uint64) int64 { return int64(max(memoryBase, live+live/4)) }

// Within runs a worker with the limit, also while it drains.
func Within(ctx context.Context, env func(string) (string, bool), run func() error) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var limiting sync.WaitGroup
	limiting.Go(func() { limitMemory(ctx, env, func(bytes int64) { debug.SetMemoryLimit(bytes) }) })
	err := run()
	cancel()
	limiting.Wait()
	debug.SetMemoryLimit(math.MaxInt64)
	return err
}
