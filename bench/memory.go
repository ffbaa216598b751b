package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// MemoryConfig says for what the memory is measured.
type MemoryConfig struct {
	Binary string   // The worker that is measured. Required.
	Server string   // URL of an external NATS server; empty: embedded.
	States []string // Default both: "queued" and "waiting".
	Jobs   []int    // How many jobs are unfinished; default 10,000, 50,000 and 100,000.
	// Rest is how long the worker is left alone before it is measured; zero: not at all.
	Rest time.Duration
	// Progress receives what is measured next; may be nil.
	Progress func(string)
}

// MemoryRow is the memory of a worker process with so many unfinished jobs.
type MemoryRow struct {
	State   string  `json:"state"` // Of the jobs: "queued" behind a busy API, or "waiting" for an hour.
	Jobs    int     `json:"jobs"`
	RSSMiB  float64 `json:"rss_mib"`  // Of the process, embedded server included, when it has come to rest.
	PeakMiB float64 `json:"peak_mib"` // The most that it ever had, while jobs came in.
	PerJob  float64 `json:"bytes_per_job"`
}

// waitFor is what the stand-in asks for.
const waitFor = time.Hour

// Memory measures a worker with more and more jobs that are queued, and another with jobs
// that wait, and returns a row for each step. The first row of each is that without jobs.
func Memory(ctx context.Context, cfg MemoryConfig) (rows []MemoryRow, err error) {
	if len(cfg.Jobs) == 0 {
		cfg.Jobs = []int{10_000, 50_000, 100_000}
	}
	if len(cfg.States) == 0 {
		cfg.States = []string{"queued", "waiting"}
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	slices.Sort(cfg.Jobs)
	for _, state := range cfg.States {
		more, err := cfg.measure(ctx, state)
		rows = append(rows, more...)
		if err != nil {
			return rows, fmt.Errorf("measuring the memory of %s jobs: %w", state, err)
		}
	}
	return rows, nil
}

func (cfg MemoryConfig) measure(ctx context.Context, state string) (rows []MemoryRow, err error) {
	a, err := startAPI(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	dir, err := os.MkdirTemp("", "rekey-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if cfg.Server != "" {
		if err := dropNamespace(ctx, cfg.Server); err != nil {
			return nil, err
		}
	}
	if state == "waiting" {
		a.refuse(waitFor)
	} else {
		a.hold()
	}
	p, err := startWorker(ctx, cfg.Binary, dir, cfg.Server, a.url, 16)
	if err != nil {
		return nil, err
	}
	defer func() {
		if state != "waiting" {
			a.release(0)
		}
		err = errors.Join(err, p.stop())
	}()
	return cfg.fill(ctx, p, a, state)
}

// fill makes more and more jobs, and returns a row for each step.
func (cfg MemoryConfig) fill(ctx context.Context, p *process, a *api, state string) (rows []MemoryRow, err error) {
	have := 0
	for _, jobs := range append([]int{0}, cfg.Jobs...) {
		cfg.Progress(fmt.Sprintf("%d %s jobs", jobs, state))
		if err := p.publish(ctx, a, jobs-have, "normal"); err != nil {
			return rows, err
		}
		have = jobs
		if err := p.atRest(ctx, state, jobs, cfg.Rest); err != nil {
			return rows, err
		}
		row := p.memory(state, jobs, rows)
		rows = append(rows, row)
		cfg.Progress(fmt.Sprintf("%d %s jobs: %.0f MiB", jobs, state, row.RSSMiB))
	}
	return rows, nil
}

// memory reads the memory of the process. The first row is what it needs without jobs.
func (p *process) memory(state string, jobs int, before []MemoryRow) MemoryRow {
	const mib = 1 << 20
	row := MemoryRow{State: state, Jobs: jobs, RSSMiB: float64(p.status("VmRSS")) / mib, PeakMiB: float64(p.status("VmHWM")) / mib}
	if len(before) > 0 {
		row.PerJob = (row.RSSMiB - before[0].RSSMiB) * mib / float64(jobs)
	}
	return row
}

// atRest waits until all events have become jobs, these are in the wanted state, and
// the worker has had a while for itself.
func (p *process) atRest(ctx context.Context, state string, jobs int, rest time.Duration) error {
	if err := p.takenIn(ctx); err != nil {
		return err
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for state == "waiting" {
		cons, err := p.js.Consumer(ctx, "REKEY-BENCH_JOBS", "jobs-normal")
		if err != nil {
			return err
		}
		if info := cons.CachedInfo(); info.NumPending == 0 && info.NumAckPending >= jobs {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
