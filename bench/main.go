// Command bench measures a worker on this machine: its throughput and latency against a bare consumer, how it keeps rate
// limits against other ways to retry, its memory with many jobs, what one job costs it and NATS, how long lists of a large ledger take, and what deliveries over HTTP do to urgent jobs.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

// run runs the command line and returns the exit code. A signal ends the measurement.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{stdout: os.Stdout, stderr: os.Stderr}
	if err := b.execute(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		return 1
	}
	return 0
}
