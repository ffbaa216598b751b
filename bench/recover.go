package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// RecoverConfig says what is killed.
type RecoverConfig struct {
	Binary      string // The worker that is measured. Required.
	Jobs        int    // Unfinished when the worker is killed.
	Concurrency int    // Of them, those whose calls are under way.
	Runs        int    // One row each.
	Progress    func(string)
}

// RecoverRow is how long a worker with an embedded server took, from the start of the process that followed one that was killed.
type RecoverRow struct {
	Jobs     int     `json:"jobs"`
	InFlight int     `json:"in_flight"`
	ReadyMS  float64 `json:"ready_ms"`      // Until /readyz said so.
	FirstMS  float64 `json:"first_call_ms"` // Until the first call.
	DoneMS   float64 `json:"done_ms"`       // Until all had their results.
	Calls    int     `json:"calls"`         // After the kill. The calls that were under way are made again.
}

// recoverCommand measures what a kill costs.
func (b *bench) recoverCommand() *cobra.Command {
	var cfg RecoverConfig
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Measure how soon a killed worker's jobs are done",
		Long: `Kill (SIGKILL) a worker process with an embedded NATS server while its slots are busy with calls and other jobs are queued,
start it again, and measure from that start: until it is ready, until the first call, and until all jobs have their results.`,
		Example: "  bench recover\n  bench recover --jobs 1000 --runs 5 -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Binary, cfg.Progress = b.worker, b.progress
			rows, err := Recover(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return b.print(rows, func(t *tabwriter.Writer) {
				row(t, "JOBS", "IN FLIGHT", "READY MS", "FIRST CALL MS", "ALL DONE MS", "CALLS")
				for _, r := range rows {
					row(t, r.Jobs, r.InFlight, fmt.Sprintf("%.0f", r.ReadyMS), fmt.Sprintf("%.0f", r.FirstMS), fmt.Sprintf("%.0f", r.DoneMS), r.Calls)
				}
			})
		},
	}
	cmd.Flags().IntVar(&cfg.Jobs, "jobs", 100, "`N` unfinished jobs")
	cmd.Flags().IntVar(&cfg.Concurrency, "concurrency", 16, "`N` calls under way")
	cmd.Flags().IntVar(&cfg.Runs, "runs", 3, "`N` runs, a row each")
	return cmd
}

// Recover kills a worker and starts it again, and returns a row for each run.
func Recover(ctx context.Context, cfg RecoverConfig) (rows []RecoverRow, err error) {
	for run := range cfg.Runs {
		cfg.Progress(fmt.Sprintf("run %d of %d", run+1, cfg.Runs))
		one, err := cfg.once(ctx)
		if err != nil {
			return rows, err
		}
		rows = append(rows, one)
	}
	return rows, nil
}

// once measures with a store of its own.
func (cfg RecoverConfig) once(ctx context.Context) (row RecoverRow, err error) {
	a, err := startAPI(ctx)
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	dir, err := os.MkdirTemp("", "rekey-bench-")
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := cfg.kill(ctx, dir, a); err != nil {
		return row, err
	}
	begun := time.Now()
	p, err := startSearching(ctx, cfg.Binary, dir, "", a.url, "", cfg.Concurrency, true, noProofs)
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	row = RecoverRow{Jobs: cfg.Jobs, InFlight: cfg.Concurrency, ReadyMS: ms(time.Since(begun))}
	if err := p.finished(ctx, cfg.Jobs); err != nil {
		return row, err
	}
	row.DoneMS = ms(time.Since(begun))
	first, calls := a.first()
	row.FirstMS, row.Calls = ms(first.Sub(begun)), calls
	return row, nil
}

// kill starts a worker, gives it jobs, and kills it when all of its slots are in calls.
func (cfg RecoverConfig) kill(ctx context.Context, dir string, a *api) error {
	p, err := startSearching(ctx, cfg.Binary, dir, "", a.url, "", cfg.Concurrency, true, noProofs)
	if err != nil {
		return err
	}
	a.hold()
	err = p.publish(ctx, a, cfg.Jobs, "urgent") // Some slots run no others.
	for calls := 0; err == nil && calls < min(cfg.Concurrency, cfg.Jobs); {
		err = pause(ctx, 5*time.Millisecond)
		_, calls = a.targets()
	}
	p.nc.Close()
	if killErr := p.cmd.Process.Kill(); killErr != nil {
		err = errors.Join(err, fmt.Errorf("killing the worker: %w", killErr))
	}
	_ = p.cmd.Wait() // It says that the process was killed.
	a.release(0)
	a.reset()
	return err
}

// finished waits until there are n results.
func (p *process) finished(ctx context.Context, n int) error {
	for {
		stream, err := p.js.Stream(ctx, "REKEY-BENCH_RESULTS")
		if err != nil {
			return err
		}
		if stream.CachedInfo().State.Msgs >= uint64(n) {
			return nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// first is when the first call came since reset, and how many there were.
func (a *api) first() (time.Time, int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]time.Time, 0, len(a.calls))
	for _, at := range a.calls {
		all = append(all, at)
	}
	if len(all) == 0 {
		return time.Time{}, 0
	}
	return slices.MinFunc(all, time.Time.Compare), a.count
}

// ms is a time in milliseconds.
func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
