package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says what is measured.
type Config struct {
	Binary      string // The worker that is measured. Required.
	Server      string // URL of an external NATS server; empty: embedded, every write synced.
	Jobs        int    // Jobs per throughput measurement; default 3000.
	Singles     int    // Events per latency measurement; default 300.
	Backlog     int    // Bulk jobs that urgent ones overtake; default as Jobs.
	Runs        int    // Repetitions, of whose figures the medians are returned; default 1.
	Concurrency []int  // Default 1, 16 and 64.
	// Progress receives what is measured next; may be nil.
	Progress func(string)
}

// Row is what was measured at one concurrency: of several runs the medians. Latencies are
// from before the publication until the call comes in, in milliseconds.
type Row struct {
	Concurrency     int     `json:"concurrency"`
	FloorPerSecond  float64 `json:"floor_jobs_per_second"` // Of queued messages.
	RekeyPerSecond  float64 `json:"rekey_jobs_per_second"` // Of queued jobs.
	Share           float64 `json:"share_of_floor"`
	EventsPerSecond float64 `json:"events_per_second"` // From the publication of events to their results.
	FloorP50        float64 `json:"floor_latency_p50_ms"`
	FloorP99        float64 `json:"floor_latency_p99_ms"`
	RekeyP50        float64 `json:"rekey_latency_p50_ms"`
	RekeyP99        float64 `json:"rekey_latency_p99_ms"`
	UrgentP50       float64 `json:"urgent_latency_p50_ms"` // While a bulk backlog keeps all slots busy with calls of 50 ms.
	UrgentP99       float64 `json:"urgent_latency_p99_ms"`
	RSSMiB          float64 `json:"rss_mib"` // Of the worker process, embedded server included, with the backlog.
}

// Durations of the overtaking measurement.
const (
	busyCall   = 50 * time.Millisecond
	urgentJobs = 100
)

// Run measures and returns a row for each concurrency.
func Run(ctx context.Context, cfg Config) (rows []Row, err error) {
	cfg.Jobs, cfg.Singles, cfg.Runs = cmp.Or(cfg.Jobs, 3000), cmp.Or(cfg.Singles, 300), cmp.Or(cfg.Runs, 1)
	cfg.Backlog = cmp.Or(cfg.Backlog, cfg.Jobs)
	if len(cfg.Concurrency) == 0 {
		cfg.Concurrency = []int{1, 16, 64}
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	a, err := startAPI(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	for _, c := range cfg.Concurrency {
		runs := make([]Row, cfg.Runs)
		for i := range runs {
			if runs[i], err = cfg.measure(ctx, a, c, i+1); err != nil {
				return rows, err
			}
		}
		rows = append(rows, medians(runs, (*Row).figures))
	}
	return rows, nil
}

// measure makes one run: the floor, and then Rekey.
func (cfg Config) measure(ctx context.Context, a *api, concurrency, run int) (Row, error) {
	row := Row{Concurrency: concurrency}
	cfg.Progress(fmt.Sprintf("concurrency %d, run %d of %d", concurrency, run, cfg.Runs))
	if err := cfg.measureFloor(ctx, a, &row); err != nil {
		return row, fmt.Errorf("measuring the floor: %w", err)
	}
	if err := cfg.measureRekey(ctx, a, &row); err != nil {
		return row, fmt.Errorf("measuring Rekey: %w", err)
	}
	row.Share = row.RekeyPerSecond / row.FloorPerSecond
	return row, nil
}

// medians takes the median of each figure by itself. All else is that of the first run.
func medians[T any](runs []T, figures func(*T) []*float64) T {
	one := runs[0]
	for i, figure := range figures(&one) {
		values := make([]float64, len(runs))
		for n := range runs {
			values[n] = *figures(&runs[n])[i]
		}
		slices.Sort(values)
		*figure = values[len(values)/2]
	}
	return one
}

// figures are all that was measured, in a fixed order.
func (r *Row) figures() []*float64 {
	return []*float64{
		&r.FloorPerSecond, &r.RekeyPerSecond, &r.Share, &r.EventsPerSecond, &r.FloorP50, &r.FloorP99, &r.RekeyP50, &r.RekeyP99,
		&r.UrgentP50, &r.UrgentP99, &r.RSSMiB,
	}
}

func (cfg Config) measureFloor(ctx context.Context, a *api, row *Row) (err error) {
	js, stop, err := cfg.floorServer()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	f := newFloor(js, a, row.Concurrency)
	defer f.client.CloseIdleConnections()
	a.reset()
	if row.FloorPerSecond, err = f.throughput(ctx, cfg.Jobs, row.Concurrency); err != nil {
		return err
	}
	took, err := f.latency(ctx, cfg.Singles, row.Concurrency)
	row.FloorP50, row.FloorP99 = quantile(took, 0.5), quantile(took, 0.99)
	return err
}

// floorServer is a server with the same durability as the worker's.
func (cfg Config) floorServer() (jetstream.JetStream, func() error, error) {
	url, stop := cfg.Server, func() error { return nil }
	if url == "" {
		dir, err := os.MkdirTemp("", "rekey-bench-")
		if err != nil {
			return nil, nil, err
		}
		srv, err := startServer(dir)
		if err != nil {
			return nil, nil, errors.Join(err, os.RemoveAll(dir))
		}
		url, stop = srv.ClientURL(), func() error { stopServer(srv); return os.RemoveAll(dir) }
	}
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("connecting to the floor's NATS: %w", err), stop())
	}
	js, err := jetstream.New(nc)
	return js, func() error { nc.Close(); return stop() }, err
}

func (cfg Config) measureRekey(ctx context.Context, a *api, row *Row) (err error) {
	dir, err := os.MkdirTemp("", "rekey-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if cfg.Server != "" {
		if err := dropNamespace(ctx, cfg.Server); err != nil {
			return err
		}
	}
	a.reset()
	p, err := startSearching(ctx, cfg.Binary, filepath.Clean(dir), cfg.Server, a.url, "", row.Concurrency, false, noProofs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if row.EventsPerSecond, err = p.throughput(ctx, a, cfg.Jobs); err != nil {
		return err
	}
	if row.RekeyPerSecond, err = p.drain(ctx, a, cfg.Jobs); err != nil {
		return err
	}
	took, err := p.latency(ctx, a, cfg.Singles)
	if err != nil {
		return err
	}
	row.RekeyP50, row.RekeyP99 = quantile(took, 0.5), quantile(took, 0.99)
	urgent, err := p.overtaking(ctx, a, cfg.Backlog, urgentJobs, busyCall)
	row.UrgentP50, row.UrgentP99 = quantile(urgent, 0.5), quantile(urgent, 0.99)
	row.RSSMiB = float64(p.rss()) / (1 << 20)
	return err
}

// dropNamespace deletes what an earlier benchmark left on an external server.
func dropNamespace(ctx context.Context, server string) error {
	nc, err := nats.Connect(server)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	const mine = "REKEY-BENCH_"
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		if len(name) > len(mine) && (name[:len(mine)] == mine || name[:min(len(name), len("KV_"+mine))] == "KV_"+mine) {
			if err := js.DeleteStream(ctx, name); err != nil {
				return err
			}
		}
	}
	return names.Err()
}

// quantile returns the q-quantile in milliseconds, 0 of nothing.
func quantile(took []time.Duration, q float64) float64 {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(took))
	i := min(int(q*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[i].Microseconds()) / 1000
}
