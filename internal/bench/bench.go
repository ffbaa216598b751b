package bench

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
	"go.uber.org/zap"

	"rekey/internal/bus"
)

// Config says what is measured.
type Config struct {
	Binary      string // The worker's own binary. Required.
	Server      string // URL of an external NATS server; empty: embedded, every write synced.
	Jobs        int    // Jobs per throughput measurement; default 3000.
	Singles     int    // Events per latency measurement; default 300.
	Concurrency []int  // Default 1, 16 and 64.
	// Progress is told what is measured next; may be nil.
	Progress func(string)
}

// Row is what was measured at one concurrency. Latencies are from before the publication
// until the call comes in, in milliseconds.
type Row struct {
	Concurrency    int     `json:"concurrency"`
	FloorPerSecond float64 `json:"floor_jobs_per_second"`
	RekeyPerSecond float64 `json:"rekey_jobs_per_second"`
	Share          float64 `json:"share_of_floor"`
	FloorP50       float64 `json:"floor_latency_p50_ms"`
	FloorP99       float64 `json:"floor_latency_p99_ms"`
	RekeyP50       float64 `json:"rekey_latency_p50_ms"`
	RekeyP99       float64 `json:"rekey_latency_p99_ms"`
	UrgentP50      float64 `json:"urgent_latency_p50_ms"` // While a bulk backlog keeps all slots busy with calls of 50 ms.
	UrgentP99      float64 `json:"urgent_latency_p99_ms"`
	RSSMiB         float64 `json:"rss_mib"` // Of the worker process, embedded server included, with the backlog.
}

// Durations of the overtaking measurement.
const (
	busyCall   = 50 * time.Millisecond
	urgentJobs = 100
)

// Run measures and returns a row for each concurrency.
func Run(ctx context.Context, cfg Config) (rows []Row, err error) {
	cfg.Jobs, cfg.Singles = cmp.Or(cfg.Jobs, 3000), cmp.Or(cfg.Singles, 300)
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
		row := Row{Concurrency: c}
		if err := cfg.measureFloor(ctx, a, &row); err != nil {
			return rows, fmt.Errorf("measuring the floor: %w", err)
		}
		if err := cfg.measureRekey(ctx, a, &row); err != nil {
			return rows, fmt.Errorf("measuring Rekey: %w", err)
		}
		row.Share = row.RekeyPerSecond / row.FloorPerSecond
		rows = append(rows, row)
	}
	return rows, nil
}

func (cfg Config) measureFloor(ctx context.Context, a *api, row *Row) (err error) {
	js, stop, err := cfg.floorServer()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	f := newFloor(js, a, row.Concurrency)
	defer f.client.CloseIdleConnections()
	cfg.Progress(fmt.Sprintf("concurrency %d: the floor", row.Concurrency))
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
	connect := bus.ConnectConfig{URL: cfg.Server, Name: "rekey bench", Logger: zap.NewNop()}
	clean := func() error { return nil }
	if cfg.Server == "" {
		dir, err := os.MkdirTemp("", "rekey-bench-")
		if err != nil {
			return nil, nil, err
		}
		server, err := bus.StartEmbedded(bus.EmbeddedConfig{StoreDir: dir, Logger: zap.NewNop()})
		if err != nil {
			return nil, nil, errors.Join(err, os.RemoveAll(dir))
		}
		connect.Embedded = server
		clean = func() error { server.Stop(); return os.RemoveAll(dir) }
	}
	conn, err := bus.Connect(connect)
	if err != nil {
		return nil, nil, errors.Join(err, clean())
	}
	return conn.JetStream(), func() error { conn.Close(); return clean() }, nil
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
	p, err := startWorker(ctx, cfg.Binary, filepath.Clean(dir), cfg.Server, a.url, row.Concurrency)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	cfg.Progress(fmt.Sprintf("concurrency %d: Rekey", row.Concurrency))
	if row.RekeyPerSecond, err = p.throughput(ctx, a, cfg.Jobs); err != nil {
		return err
	}
	took, err := p.latency(ctx, a, cfg.Singles)
	if err != nil {
		return err
	}
	row.RekeyP50, row.RekeyP99 = quantile(took, 0.5), quantile(took, 0.99)
	urgent, err := p.overtaking(ctx, a, cfg.Jobs, urgentJobs, busyCall)
	row.UrgentP50, row.UrgentP99 = quantile(urgent, 0.5), quantile(urgent, 0.99)
	row.RSSMiB = float64(p.rss()) / (1 << 20)
	a.slow(0)
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
