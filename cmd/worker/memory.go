package main

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

// limitMemory sets the limit, over and over, until ctx ends. It does nothing when the
// operator has set GOMEMLIMIT or GOGC.
func (c *cli) limitMemory(ctx context.Context, set func(bytes int64)) {
	for _, name := range []string{"GOMEMLIMIT", "GOGC"} {
		if value, ok := c.lookupEnv(name); ok && value != "" {
			return
		}
	}
	ticker := time.NewTicker(memoryEvery)
	defer ticker.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for ctx.Err() == nil {
		metrics.Read(live)
		set(memoryLimit(live[0].Value.Uint64()))
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// memoryLimit is the limit of a heap of which so many bytes are in use.
func memoryLimit(live uint64) int64 { return int64(max(memoryBase, live+live/4)) }

// withMemoryLimit runs the worker with the limit, also while it drains.
func (c *cli) withMemoryLimit(ctx context.Context, run func() error) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var limiting sync.WaitGroup
	limiting.Go(func() { c.limitMemory(ctx, func(bytes int64) { debug.SetMemoryLimit(bytes) }) })
	err := run()
	cancel()
	limiting.Wait()
	debug.SetMemoryLimit(math.MaxInt64)
	return err
}
