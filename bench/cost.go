package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
)

// CostConfig says how the cost of a job is counted.
type CostConfig struct {
	Binary      string       // The worker that is measured. Required.
	Jobs        int          // Published as fast as the server takes them; default 2000.
	Singles     int          // Published one by one, each after the result of the one before; default 300.
	Runs        int          // Repetitions, of whose figures the medians are returned; default 1.
	Concurrency int          // Default 16.
	Progress    func(string) // Receives what is measured next; may be nil.
}

// Cost is what one job costs, on average. What a worker does without jobs is in it.
type Cost struct {
	WorkerCPU  float64            `json:"worker_cpu_ms"` // User and system.
	ServerCPU  float64            `json:"server_cpu_ms"` // The same of the NATS server: with the publication of the event and the delivery of the result to the benchmark.
	Allocs     float64            `json:"worker_allocations"`
	AllocKiB   float64            `json:"worker_allocated_kib"`
	Stored     float64            `json:"stored"`      // Messages that streams stored, and messages that an acknowledgement took out of one: the synced writes.
	RoundTrips float64            `json:"round_trips"` // What the worker sent and had an answer to.
	Sent       float64            `json:"sent"`        // Messages from the worker to the server.
	Streams    map[string]float64 `json:"stored_by_stream"`
	Messages   map[string]float64 `json:"sent_by_kind"`
}

// Costs are those of jobs that come all at once, and of jobs that come one by one.
type Costs struct {
	Flood Cost `json:"flood"`
	Alone Cost `json:"alone"`
}

// MeasureCosts counts what a job costs a worker and an external NATS server that syncs every write. Between the two is a proxy that counts.
func MeasureCosts(ctx context.Context, cfg CostConfig) (Costs, error) {
	cfg.Jobs, cfg.Singles, cfg.Runs, cfg.Concurrency = cmp.Or(cfg.Jobs, 2000), cmp.Or(cfg.Singles, 300), cmp.Or(cfg.Runs, 1), cmp.Or(cfg.Concurrency, 16)
	runs := make([]Costs, cfg.Runs)
	for i := range runs {
		if cfg.Progress != nil {
			cfg.Progress(fmt.Sprintf("%d jobs at once and %d one by one, run %d of %d", cfg.Jobs, cfg.Singles, i+1, cfg.Runs))
		}
		var err error
		if runs[i], err = cfg.run(ctx); err != nil {
			return Costs{}, err
		}
	}
	var flood, alone []Cost
	for _, r := range runs {
		flood, alone = append(flood, r.Flood), append(alone, r.Alone)
	}
	return Costs{medians(flood, (*Cost).figures), medians(alone, (*Cost).figures)}, nil
}

// run starts a server, the proxy and a worker, and measures both ways.
func (cfg CostConfig) run(ctx context.Context) (costs Costs, err error) {
	a, err := startAPI(ctx)
	if err != nil {
		return costs, err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	dir, err := os.MkdirTemp("", "rekey-bench-")
	if err != nil {
		return costs, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	srv, err := startServing(ctx, filepath.Join(dir, "nats"))
	if err != nil {
		return costs, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	proxy, err := startProxy(ctx, strings.TrimPrefix(srv.url, "nats://"))
	if err != nil {
		return costs, err
	}
	defer func() { err = errors.Join(err, proxy.stop()) }()
	p, err := startSearching(ctx, cfg.Binary, dir, proxy.url, a.url, "", cfg.Concurrency, false, noProofs)
	if err != nil {
		return costs, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	p.nc.Close() // The benchmark's own messages do not count.
	if err := p.dial(srv.url); err != nil {
		return costs, err
	}
	m := &costMeter{worker: p, server: srv, proxy: proxy, api: a}
	if _, err := m.measure(ctx, min(cfg.Jobs, 200), m.flood); err != nil { // What happens once is not counted.
		return costs, err
	}
	if costs.Flood, err = m.measure(ctx, cfg.Jobs, m.flood); err != nil {
		return costs, err
	}
	costs.Alone, err = m.measure(ctx, cfg.Singles, m.alone)
	return costs, err
}

// costMeter reads all figures.
type costMeter struct {
	worker *process
	server *serving
	proxy  *proxy
	api    *api
}

// flood publishes n events at once and waits for their results.
func (m *costMeter) flood(ctx context.Context, n int) error {
	_, err := m.worker.throughput(ctx, m.api, n)
	return err
}

// alone publishes n events, each after the result of the one before.
func (m *costMeter) alone(ctx context.Context, n int) error {
	m.api.reset()
	results, stop, err := m.worker.results(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for range n {
		if _, err := m.worker.js.Publish(ctx, eventSubject, request(m.api.newProject(), "normal")); err != nil {
			return err
		}
		select {
		case <-results:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// measure makes n jobs and returns what each cost.
func (m *costMeter) measure(ctx context.Context, n int, do func(context.Context, int) error) (Cost, error) {
	before, err := m.read(ctx)
	if err != nil {
		return Cost{}, err
	}
	if err := errors.Join(do(ctx, n), m.settled(ctx)); err != nil {
		return Cost{}, err
	}
	after, err := m.read(ctx)
	if err != nil {
		return Cost{}, err
	}
	for i, figure := range after.figures() {
		*figure = (*figure - *before.figures()[i]) / float64(n)
	}
	perJob := func(have, had map[string]float64) {
		for key := range have {
			have[key] = (have[key] - had[key]) / float64(n)
		}
	}
	perJob(after.Streams, before.Streams)
	perJob(after.Messages, before.Messages)
	for _, stored := range after.Streams {
		after.Stored += stored
	}
	return after, nil
}

// settled waits until the worker has nothing left to do.
func (m *costMeter) settled(ctx context.Context) error {
	if err := m.worker.takenIn(ctx); err != nil {
		return err
	}
	for {
		stream, err := m.worker.js.Stream(ctx, "REKEY-BENCH_JOBS")
		if err != nil || stream.CachedInfo().State.Msgs == 0 {
			return err
		}
		timer := time.NewTimer(5 * time.Millisecond)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// read reads all figures, of all that was done so far.
func (m *costMeter) read(ctx context.Context) (Cost, error) {
	c := Cost{Streams: map[string]float64{}, WorkerCPU: cpuMS(m.worker.cmd.Process.Pid), ServerCPU: cpuMS(m.server.cmd.Process.Pid)}
	c.Messages, c.Sent, c.RoundTrips = m.proxy.counts()
	list := m.worker.js.ListStreams(ctx)
	for info := range list.Info() {
		c.Streams["to "+strings.TrimPrefix(strings.TrimPrefix(info.Config.Name, "KV_"), "REKEY-BENCH_")] = float64(info.State.LastSeq)
		if info.Config.Retention == jetstream.WorkQueuePolicy {
			c.Streams["out of "+strings.TrimPrefix(info.Config.Name, "REKEY-BENCH_")] = float64(info.State.LastSeq - info.State.Msgs)
		}
	}
	if err := list.Err(); err != nil {
		return c, fmt.Errorf("listing the streams: %w", err)
	}
	text, err := m.worker.metrics(ctx)
	c.Allocs, c.AllocKiB = metric(text, "go_memstats_mallocs_total"), metric(text, "go_memstats_alloc_bytes_total")/1024
	return c, err
}

// metric is a metric without labels, 0 where it is missing.
func metric(text, name string) float64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err == nil {
				return value
			}
		}
	}
	return 0
}

// cpuMS is the processor time of a process in milliseconds, or 0 where the system does not tell: fields 14 and 15 of its
// stat (proc_pid_stat(5)), in ticks of 10 ms.
func cpuMS(pid int) float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // The name before may have spaces.
	words := bufio.NewScanner(strings.NewReader(rest))
	words.Split(bufio.ScanWords)
	ticks := 0.0
	for n := 3; words.Scan(); n++ {
		if n == 14 || n == 15 {
			value, _ := strconv.ParseFloat(words.Text(), 64) //nolint:errcheck // The kernel writes numbers.
			ticks += value
		}
	}
	return 10 * ticks
}

// figures are all single figures but the sum of what was stored, in a fixed order.
func (c *Cost) figures() []*float64 {
	return []*float64{&c.WorkerCPU, &c.ServerCPU, &c.Allocs, &c.AllocKiB, &c.RoundTrips, &c.Sent}
}

func (b *bench) costCommand() *cobra.Command {
	var cfg CostConfig
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Count what one job costs",
		Long: `Count what one job costs a worker and an external NATS server that syncs every write: processor time of both, the
worker's allocations, what the streams store (each is a synced write), and what the worker sends, by kind. FLOOD is for
jobs whose events come all at once, ALONE for jobs that come one by one. Nothing is proven: a job is one call. The counts are
the same on a busy machine, and processor times nearly: compare medians of several runs of two workers in turns.`,
		Example: "  bench cost\n  bench cost --runs 5 -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Binary, cfg.Progress = b.worker, b.progress
			costs, err := MeasureCosts(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return b.printCosts(costs)
		},
	}
	cmd.Flags().IntVar(&cfg.Jobs, "jobs", 2000, "`N` jobs at once")
	cmd.Flags().IntVar(&cfg.Singles, "singles", 300, "`N` jobs one by one")
	cmd.Flags().IntVar(&cfg.Runs, "runs", 1, "`N` runs, to print the medians of")
	cmd.Flags().IntVar(&cfg.Concurrency, "concurrency", 16, "`N` jobs at once in the worker")
	return cmd
}

func (b *bench) printCosts(costs Costs) error {
	return b.print(costs, func(t *tabwriter.Writer) {
		f, a := costs.Flood, costs.Alone
		line := func(what string, flood, alone float64) {
			row(t, what, strconv.FormatFloat(flood, 'f', 2, 64), strconv.FormatFloat(alone, 'f', 2, 64))
		}
		each := func(flood, alone map[string]float64) {
			both := maps.Clone(flood)
			maps.Copy(both, alone)
			for _, key := range slices.Sorted(maps.Keys(both)) {
				if flood[key] >= 0.005 || alone[key] >= 0.005 {
					line("  "+key, flood[key], alone[key])
				}
			}
		}
		row(t, "A JOB", "FLOOD", "ALONE")
		line("CPU ms, worker", f.WorkerCPU, a.WorkerCPU)
		line("CPU ms, server", f.ServerCPU, a.ServerCPU)
		line("allocations", f.Allocs, a.Allocs)
		line("allocated KiB", f.AllocKiB, a.AllocKiB)
		line("stored", f.Stored, a.Stored)
		each(f.Streams, a.Streams)
		line("round trips", f.RoundTrips, a.RoundTrips)
		line("sent", f.Sent, a.Sent)
		each(f.Messages, a.Messages)
	})
}

// serveCommand is the server of a measurement.
func (b *bench) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use: serveCommand + " STORE", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return serve(cmd.InOrStdin(), b.stdout, args[0]) },
	}
}
