package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// bench is one command line.
type bench struct {
	stdout, stderr io.Writer
	worker, output string // Flags.
}

func (b *bench) execute(ctx context.Context, args []string) error {
	root := b.root() //nolint:contextcheck // The commands get their context from ExecuteContext.
	root.SetArgs(args)
	root.SetOut(b.stdout)
	root.SetErr(b.stderr)
	return root.ExecuteContext(ctx)
}

// root returns all commands. The measurement of throughput has no name of its own.
func (b *bench) root() *cobra.Command {
	root := b.throughputCommand()
	root.AddCommand(b.memoryCommand(), b.readCommand(), b.searchCommand(), b.paceCommand(), b.proofsCommand(), b.doorsCommand(), b.costCommand(), b.recoverCommand(), b.peersCommand(), b.serveCommand(), b.peerCommand())
	root.PersistentFlags().StringVar(&b.worker, "worker", "bin/worker", "`FILE` of the worker that is measured")
	root.PersistentFlags().StringVarP(&b.output, "output", "o", "table", "`FORM` of the output: table or json")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) (err error) {
		if cmd.Hidden {
			return nil
		}
		if b.output != "table" && b.output != "json" {
			return errors.New("--output must be table or json")
		}
		if b.worker, err = filepath.Abs(b.worker); err == nil {
			_, err = os.Stat(b.worker)
		}
		if err != nil {
			return fmt.Errorf("--worker: %w; 'make build' builds bin/worker", err)
		}
		return nil
	}
	return root
}

// progress shows what is measured next.
func (b *bench) progress(line string) { fmt.Fprintln(b.stderr, line) }

// print writes the rows as JSON or as a table.
func (b *bench) print(rows any, table func(t *tabwriter.Writer)) error {
	if b.output == "json" {
		encoder := json.NewEncoder(b.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(rows)
	}
	t := tabwriter.NewWriter(b.stdout, 0, 4, 2, ' ', 0)
	table(t)
	return t.Flush()
}

// none fills a cell without a value.
const none = "-"

func row(t *tabwriter.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = fmt.Sprint(cell)
	}
	// Errors come up when the writer is flushed.
	_, _ = fmt.Fprintln(t, strings.Join(texts, "\t"))
}

func (b *bench) throughputCommand() *cobra.Command {
	var cfg Config
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure throughput and latency of a worker on this machine",
		Long: `Measure a worker process against the floor, a bare consumer that makes the same call and
acknowledges with confirmation, on the same NATS with the same durability, in the same run.
The API is a stand-in on this machine that answers at once.

JOBS/S is how fast queued jobs (of the floor: queued messages) are done, EVENTS/S how fast
published events get their results, and SHARE is Rekey's jobs to the floor's. Latencies are
from before the publication until the call comes in; those of urgent jobs are taken while a
backlog of bulk jobs keeps all slots busy with calls of 50 ms. Figures of a shared machine
are noisy: use --runs 5, and read medians and ratios.`,
		Example:      "  bench\n  bench --server nats://127.0.0.1:4222 --concurrency 16 --jobs 10000",
		Args:         cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Binary, cfg.Progress = b.worker, b.progress
			rows, err := Run(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return b.printThroughput(rows)
		},
	}
	cmd.Flags().StringVar(&cfg.Server, "server", "", "`URL` of an external NATS server (default: embedded)")
	cmd.Flags().IntVar(&cfg.Jobs, "jobs", 3000, "`N` jobs for each throughput")
	cmd.Flags().IntVar(&cfg.Singles, "singles", 300, "`N` events for each latency")
	cmd.Flags().IntVar(&cfg.Backlog, "backlog", 0, "`N` bulk jobs that urgent ones overtake (default: as --jobs)")
	cmd.Flags().IntVar(&cfg.Runs, "runs", 1, "`N` runs, to print the medians of")
	cmd.Flags().IntSliceVar(&cfg.Concurrency, "concurrency", []int{1, 16, 64}, "`LIST` of jobs at once")
	return cmd
}

func (b *bench) printThroughput(rows []Row) error {
	return b.print(rows, func(t *tabwriter.Writer) {
		row(t, "CONCURRENCY", "FLOOR JOBS/S", "REKEY JOBS/S", "SHARE", "EVENTS/S", "FLOOR P50/P99 MS", "REKEY P50/P99 MS", "URGENT P50/P99 MS", "RSS MIB")
		for _, r := range rows {
			row(t, r.Concurrency, fmt.Sprintf("%.0f", r.FloorPerSecond), fmt.Sprintf("%.0f", r.RekeyPerSecond),
				fmt.Sprintf("%.0f %%", 100*r.Share), fmt.Sprintf("%.0f", r.EventsPerSecond),
				fmt.Sprintf("%.2f / %.2f", r.FloorP50, r.FloorP99),
				fmt.Sprintf("%.2f / %.2f", r.RekeyP50, r.RekeyP99), fmt.Sprintf("%.1f / %.1f", r.UrgentP50, r.UrgentP99),
				fmt.Sprintf("%.0f", r.RSSMiB))
		}
	})
}

func (b *bench) memoryCommand() *cobra.Command {
	var cfg MemoryConfig
	cmd := &cobra.Command{
		Use:   "memory",
		Short: "Measure the memory of a worker with many unfinished jobs",
		Long: `Measure the memory of a worker process, embedded NATS server included, with more and more jobs
that are queued behind a busy API, and with jobs that wait an hour for their next attempt. RSS is
what it has when it has come to rest, PEAK the most that it had while the jobs came in.`,
		Example: "  bench memory\n  bench memory --jobs 10000,200000 -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Binary, cfg.Progress = b.worker, b.progress
			rows, err := Memory(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return b.print(rows, func(t *tabwriter.Writer) {
				row(t, "STATE", "JOBS", "RSS MIB", "PEAK MIB", "BYTES PER JOB")
				for _, r := range rows {
					perJob := none
					if r.Jobs > 0 {
						perJob = fmt.Sprintf("%.0f", r.PerJob)
					}
					row(t, r.State, r.Jobs, fmt.Sprintf("%.0f", r.RSSMiB), fmt.Sprintf("%.0f", r.PeakMiB), perJob)
				}
			})
		},
	}
	cmd.Flags().StringVar(&cfg.Server, "server", "", "`URL` of an external NATS server (default: embedded)")
	cmd.Flags().IntSliceVar(&cfg.Jobs, "jobs", []int{10_000, 50_000, 100_000}, "`LIST` of numbers of jobs")
	cmd.Flags().DurationVar(&cfg.Rest, "rest", 30*time.Second, "`TIME` that the worker is left alone before it is measured")
	return cmd
}

func (b *bench) readCommand() *cobra.Command {
	var cfg ReadConfig
	cmd := &cobra.Command{
		Use:   "read",
		Short: "Measure how long lists of a large ledger take",
		Long: `Fill the ledger of a worker process with records and measure how long 'job ls' with each filter
and 'dlq ls' take, from the start of the command to its end: medians of --runs, and the worst.`,
		Example: "  bench read\n  bench read --records 1000000 --runs 3",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Binary, cfg.Progress = b.worker, b.progress
			rows, err := Read(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return b.print(rows, func(t *tabwriter.Writer) {
				row(t, "COMMAND", "FOUND", "MS", "WORST MS")
				for _, r := range rows {
					row(t, r.Command, r.Found, fmt.Sprintf("%.0f", r.MS), fmt.Sprintf("%.0f", r.WorstMS))
				}
			})
		},
	}
	cmd.Flags().StringVar(&cfg.Server, "server", "", "`URL` of an external NATS server (default: embedded)")
	cmd.Flags().IntVar(&cfg.Records, "records", 100_000, "`N` records, and a tenth of it dead letters")
	cmd.Flags().IntVar(&cfg.Runs, "runs", 5, "`N` times for each list")
	return cmd
}

func (b *bench) doorsCommand() *cobra.Command {
	var cfg DoorsConfig
	cmd := &cobra.Command{
		Use:   "doors",
		Short: "Measure deliveries over HTTP, and what they do to urgent jobs",
		Long: `Post deliveries to a door of a worker process at a steady rate, each of which becomes a job of the normal lane, while
urgent events are published one after the other. ANSWER is from the request until the answer, which comes when NATS has
stored the event; URGENT from before the publication until the call comes in, ALONE without deliveries, and WITH them.`,
		Example: "  bench doors\n  bench doors --class rotation --rate 20000 --for 30s",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Binary, cfg.Progress = b.worker, b.progress
			r, err := Doors(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return b.print(r, func(t *tabwriter.Writer) {
				row(t, "DELIVERIES", "PER MINUTE", "REFUSED", "ANSWER P50/P99 MS", "URGENT ALONE P50/P99 MS", "URGENT WITH P50/P99 MS")
				row(t, r.Deliveries, fmt.Sprintf("%.0f", r.PerMinute), r.Refused, fmt.Sprintf("%.1f / %.1f", r.AnswerP50, r.AnswerP99),
					fmt.Sprintf("%.1f / %.1f", r.AloneP50, r.AloneP99), fmt.Sprintf("%.1f / %.1f", r.WithP50, r.WithP99))
			})
		},
	}
	cmd.Flags().StringVar(&cfg.Server, "server", "", "`URL` of an external NATS server (default: embedded)")
	cmd.Flags().StringVar(&cfg.Class, "class", "incident", "`CLASS` of the deliveries' events; urgent ones are incidents")
	cmd.Flags().IntVar(&cfg.Rate, "rate", 10_000, "`N` deliveries a minute")
	cmd.Flags().DurationVar(&cfg.For, "for", time.Minute, "`TIME` for which they come")
	return cmd
}

func (b *bench) searchCommand() *cobra.Command {
	var cfg SearchConfig
	cmd := &cobra.Command{
		Use:   "search",
		Short: "Measure searches of a large ledger",
		Long: `Fill the ledger of a worker process with records, and measure how fast the worker makes the file of its
search from them, how soon it answers from an existing file, how much memory the search takes (RSS, and the
most that the process ever had, with and without it), and how long it takes to answer each search (--queries
times each, one after the other, over NATS).`,
		Example: "  bench search\n  bench search --records 100000 --queries 200",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Binary, cfg.Progress = b.worker, b.progress
			found, err := Search(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return b.print(found, func(t *tabwriter.Writer) {
				row(t, "RECORDS", "RECORDS/S", "FIRST ANSWER MS", "FILE MIB", "RSS MIB", "PEAK MIB", "RSS WITHOUT MIB", "PEAK WITHOUT MIB")
				row(t, found.Records, fmt.Sprintf("%.0f", found.PerSecond), fmt.Sprintf("%.0f", found.FirstMS), fmt.Sprintf("%.0f", found.FileMiB),
					fmt.Sprintf("%.0f", found.RSSMiB), fmt.Sprintf("%.0f", found.PeakMiB), fmt.Sprintf("%.0f", found.WithoutMiB), fmt.Sprintf("%.0f", found.WithoutPeakMiB))
				row(t)
				row(t, "SEARCH", "FOUND", "P50 MS", "P99 MS", "WORST MS")
				for _, r := range found.Searches {
					row(t, r.Search, r.Found, fmt.Sprintf("%.1f", r.P50), fmt.Sprintf("%.1f", r.P99), fmt.Sprintf("%.1f", r.Worst))
				}
			})
		},
	}
	cmd.Flags().IntVar(&cfg.Records, "records", 1_000_000, "`N` records, and a tenth of it dead letters")
	cmd.Flags().IntVar(&cfg.Queries, "queries", 100, "`N` times for each search")
	return cmd
}

func (b *bench) paceCommand() *cobra.Command {
	var cfg PaceConfig
	cmd := &cobra.Command{
		Use:   "pace",
		Short: "Measure how rate limits are kept",
		Long: `Empty a list of jobs against a stand-in API with an exact bucket of 20 calls, then 50 a second,
with fleets of workers on a NATS server that syncs every write: with the bucket known, with
nothing known, and with an API that closes it now and then. In the same run, the plain way
(each job backs off on its own and obeys Retry-After) and hashicorp/go-retryablehttp do the
same list under the same concurrency.

RATIO is the time from the first to the last call to what the bucket allows at best, EARLY
counts calls before an announced Retry-After, LATE is the time from its end to the next call,
REDELIVERIES counts the delays of a job, and KV/JOB counts writes and reads of the
buckets' shared state. Figures of a shared machine are noisy: use --runs 5.`,
		Example: "  bench pace --jobs 500\n  bench pace --jobs 10000 --workers 1 --alone\n  bench pace --runs 5 -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Binary, cfg.Progress = b.worker, b.progress
			rows, err := RunPace(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return b.printPace(rows)
		},
	}
	cmd.Flags().IntVar(&cfg.Jobs, "jobs", 2000, "`N` jobs in each list")
	cmd.Flags().IntSliceVar(&cfg.Workers, "workers", []int{1, 4}, "`LIST` of workers in a fleet")
	cmd.Flags().IntVar(&cfg.Concurrency, "concurrency", 16, "`N` jobs at once in each worker")
	cmd.Flags().IntVar(&cfg.Runs, "runs", 1, "`N` runs, to print the medians of")
	cmd.Flags().BoolVar(&cfg.Alone, "alone", false, "leave out the ways that Rekey is compared with")
	return cmd
}

func (b *bench) proofsCommand() *cobra.Command {
	var cfg ProofsConfig
	cmd := &cobra.Command{
		Use:   "proofs",
		Short: "Measure what pending proofs cost a bulk list",
		Long: `Empty a bulk list of deletions against a stand-in API with a bucket of 20 calls, then 50 a second, on which
the reads of proofs draw, too: without any proofs, and beside pending ones of targets that live on, in turns.
The times are those from the first to the last deletion, medians of --runs; RATIO is that of the two, and READS
counts the reads that drew on the bucket meanwhile. The jobs of the list are checked, too.`,
		Example: "  bench proofs\n  bench proofs --jobs 5000 --pending 500 --runs 5",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Binary, cfg.Progress = b.worker, b.progress
			found, err := Proofs(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return b.print(found, func(t *tabwriter.Writer) {
				row(t, "JOBS", "PENDING", "WITHOUT S", "BESIDE S", "RATIO", "READS")
				row(t, found.Jobs, found.Pending, fmt.Sprintf("%.2f", found.Without), fmt.Sprintf("%.2f", found.Beside), fmt.Sprintf("%.3f", found.Ratio), fmt.Sprintf("%.0f", found.Reads))
			})
		},
	}
	cmd.Flags().IntVar(&cfg.Jobs, "jobs", 1000, "`N` jobs in the list")
	cmd.Flags().IntVar(&cfg.Pending, "pending", 500, "`N` proofs that are pending beside it")
	cmd.Flags().IntVar(&cfg.Runs, "runs", 3, "`N` runs of each, to print the medians of")
	return cmd
}

func (b *bench) printPace(rows []PaceRow) error {
	return b.print(rows, func(t *tabwriter.Writer) {
		row(t, "WAY", "WORKERS", "RATIO", "429S", "EARLY", "LATE P99 MS", "REDELIVERIES P50/P99", "KV/JOB")
		for _, r := range rows {
			ratio, late := none, none
			if r.Ratio > 0 {
				ratio = fmt.Sprintf("%.3f", r.Ratio)
			}
			if r.LateP99 >= 0 {
				late = fmt.Sprintf("%.1f", r.LateP99)
			}
			row(t, r.Way, r.Workers, ratio, fmt.Sprintf("%.0f", r.Refused), fmt.Sprintf("%.0f", r.Early), late,
				fmt.Sprintf("%.0f / %.0f", r.RedeliveriesP50, r.RedeliveriesP99), fmt.Sprintf("%.2f", r.KVPerJob))
		}
	})
}
