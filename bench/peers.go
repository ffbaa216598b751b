package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// PeersConfig says how Rekey is compared with other queues of jobs.
type PeersConfig struct {
	Binary      string       // The worker that is measured. Required.
	Redis       string       // The program redis-server; empty: asynq is left out.
	Postgres    string       // The folder of initdb and postgres; empty: River is left out.
	Jobs        int          // Default 3000.
	Singles     int          // Default 300.
	Concurrency int          // Jobs at once. Default 16.
	Runs        int          // Rounds of all ways, one behind the other, of whose figures the medians are returned; default 1.
	Progress    func(string) // Receives what is measured next.
}

// PeerRow is what was measured of one way: a durable message in, one HTTP call, one durable end, in a store that syncs each write.
type PeerRow struct {
	Way       string  `json:"way"`
	PerSecond float64 `json:"jobs_per_second"`            // From the first message of a flood until all ends are stored.
	WorkerCPU float64 `json:"worker_cpu_ms"`              // A job of the flood, user and system. 0: not measured by itself.
	StoreCPU  float64 `json:"store_cpu_ms"`               // The same of the store, with what it takes to put a job in.
	P50       float64 `json:"latency_p50_ms"`             // Of single jobs, from before they are put in until the call comes in.
	P99       float64 `json:"latency_p99_ms"`             //
	RSSMiB    float64 `json:"worker_rss_mib"`             // Of the worker, after both.
	RSSFile   float64 `json:"worker_rss_file_backed_mib"` // Of it, pages of the program's file.
}

// figures are all that was measured, in a fixed order.
func (r *PeerRow) figures() []*float64 {
	return []*float64{&r.PerSecond, &r.WorkerCPU, &r.StoreCPU, &r.P50, &r.P99, &r.RSSMiB, &r.RSSFile}
}

// peerWay is one of those that are compared. start returns it at work, in an empty folder.
type peerWay struct {
	name  string
	start func(ctx context.Context, dir string, a *api) (*atWork, error)
}

// atWork is a worker and its store.
type atWork struct {
	put    func(ctx context.Context, project string) error // Returns when the job is stored.
	ended  func(ctx context.Context) (int, error)          // How many ends are stored.
	worker int                                             // Process id; 0: this process.
	store  int                                             // The process whose children are the store's, too.
	stop   func() error
}

// ComparePeers measures all ways in turns.
func ComparePeers(ctx context.Context, cfg PeersConfig) (rows []PeerRow, err error) {
	cfg.Jobs, cfg.Singles, cfg.Runs, cfg.Concurrency = cmp.Or(cfg.Jobs, 3000), cmp.Or(cfg.Singles, 300), cmp.Or(cfg.Runs, 1), cmp.Or(cfg.Concurrency, 16)
	a, err := startAPI(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	ways := cfg.ways()
	runs := make([][]PeerRow, len(ways))
	for round := range cfg.Runs {
		for i, w := range ways {
			cfg.Progress(fmt.Sprintf("%s, round %d of %d", w.name, round+1, cfg.Runs))
			one, err := cfg.measure(ctx, a, w)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			runs[i] = append(runs[i], one)
		}
	}
	for i := range ways {
		rows = append(rows, medians(runs[i], (*PeerRow).figures))
	}
	return rows, nil
}

// measure makes one run of one way.
func (cfg PeersConfig) measure(ctx context.Context, a *api, w peerWay) (r PeerRow, err error) {
	dir, err := os.MkdirTemp("", "rekey-bench-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	at, err := w.start(ctx, dir, a)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, at.stop()) }()
	if _, err := cfg.flood(ctx, a, at, 200); err != nil { // What happens once is not counted.
		return r, err
	}
	r.Way = w.name
	worker, store := cpuMS(at.worker), treeCPU(at.store)
	if r.PerSecond, err = cfg.flood(ctx, a, at, cfg.Jobs); err != nil {
		return r, err
	}
	if at.worker != 0 {
		r.WorkerCPU = (cpuMS(at.worker) - worker) / float64(cfg.Jobs)
	}
	r.StoreCPU = (treeCPU(at.store) - store) / float64(cfg.Jobs)
	took, err := oneByOne(ctx, a, cfg.Singles, func(project string) error { return at.put(ctx, project) })
	r.P50, r.P99 = quantile(took, 0.5), quantile(took, 0.99)
	if at.worker != 0 {
		r.RSSMiB, r.RSSFile = mib(memoryOf(at.worker, "VmRSS")), mib(memoryOf(at.worker, "RssFile"))
	}
	return r, err
}

// flood puts n jobs in and returns jobs a second until all ends are stored.
func (cfg PeersConfig) flood(ctx context.Context, a *api, at *atWork, n int) (float64, error) {
	before, err := at.ended(ctx)
	if err != nil {
		return 0, err
	}
	a.reset()
	begun := time.Now()
	if err := at.putAll(ctx, a, n); err != nil {
		return 0, err
	}
	for {
		now, err := at.ended(ctx)
		if err != nil {
			return 0, err
		}
		if now-before >= n {
			return float64(n) / time.Since(begun).Seconds(), nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// putAll puts n jobs in, 16 at once.
func (at *atWork) putAll(ctx context.Context, a *api, n int) error {
	const producers = 16
	todo, failed := make(chan string), make(chan error, 1)
	var pool sync.WaitGroup
	for range producers {
		pool.Go(func() {
			for project := range todo {
				if err := at.put(ctx, project); err != nil {
					select {
					case failed <- err:
					default: // The first one tells enough.
					}
				}
			}
		})
	}
	for range n {
		todo <- a.newProject()
	}
	close(todo)
	pool.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func (b *bench) peersCommand() *cobra.Command {
	cfg := PeersConfig{Progress: b.progress}
	cmd := &cobra.Command{
		Use:   "peers",
		Short: "Compare with asynq and River at equal durability",
		Long: `Compare a worker with asynq on Redis and River on PostgreSQL, and with a bare consumer of the same NATS (the floor): a durable
message in, one HTTP call, one durable end, in stores that sync every write (NATS sync_interval: always, Redis appendfsync always,
PostgreSQL with its defaults). Each worker and each store is a process of its own, but for the floor's worker. Rekey does more
for a job than they do: one job for each target, a ledger with every attempt, a chained result. How much of its time that takes is
seen beside "Rekey's writes alone": the floor, which stores as many messages as Rekey, and then one and two fewer. The ways run
one behind the other, and --runs repeats all of them. A way whose store is not installed is left out.`,
		Example: "  bench peers\n  bench peers --runs 3 -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Binary = b.worker
			rows, err := ComparePeers(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return b.print(rows, func(t *tabwriter.Writer) {
				row(t, "WAY", "JOBS/S", "WORKER CPU MS", "STORE CPU MS", "P50/P99 MS", "WORKER RSS MIB", "OF IT FILE")
				for _, r := range rows {
					row(t, r.Way, fmt.Sprintf("%.0f", r.PerSecond), orNone(r.WorkerCPU, 2), fmt.Sprintf("%.2f", r.StoreCPU),
						fmt.Sprintf("%.2f / %.2f", r.P50, r.P99), orNone(r.RSSMiB, 0), orNone(r.RSSFile, 0))
				}
			})
		},
	}
	cmd.Flags().StringVar(&cfg.Redis, "redis", found("redis-server"), "`FILE` of redis-server")
	cmd.Flags().StringVar(&cfg.Postgres, "postgres", postgresFolder(), "`FOLDER` of initdb and postgres")
	cmd.Flags().IntVar(&cfg.Jobs, "jobs", 3000, "`N` jobs at once")
	cmd.Flags().IntVar(&cfg.Singles, "singles", 300, "`N` jobs one by one")
	cmd.Flags().IntVar(&cfg.Concurrency, "concurrency", 16, "`N` jobs at once in the worker")
	cmd.Flags().IntVar(&cfg.Runs, "runs", 1, "`N` rounds, to print the medians of")
	return cmd
}

// orNone is a figure that may not have been measured.
func orNone(value float64, digits int) string {
	if value == 0 {
		return none
	}
	return fmt.Sprintf("%.*f", digits, value)
}

// postgresFolder is where Debian has the newest PostgreSQL, or where the PATH has one; "" where there is none.
func postgresFolder() string {
	folders, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err == nil && len(folders) > 0 {
		return filepath.Dir(folders[len(folders)-1])
	}
	if file := found("postgres"); file != "" {
		return filepath.Dir(file)
	}
	return ""
}
