// Command worker is Rekey: it takes credentials away when events on NATS or cron schedules
// say so, and proves it. The commands are in this package; what they do is below internal.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // Schedules have time zones; an image from scratch has none.

	_ "golang.org/x/crypto/x509roots/fallback" // Nor has it authorities; those of a system go before these.
)

func main() { os.Exit(run()) }

// run runs the command line and returns its exit code. The first signal ends the context;
// from then on signals have their default effect, so that a second one ends at once.
func run() int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		first := <-signals
		signal.Stop(signals) // Before the context ends: a second signal counts from the moment at which the stop can be seen.
		cancel(signalError{first})
	}()
	c := &cli{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, lookupEnv: os.LookupEnv}
	return c.execute(ctx, os.Args[1:])
}

// signalError names the signal that ended the context.
type signalError struct{ signal os.Signal }

// Error is the name of the signal.
func (e signalError) Error() string { return e.signal.String() + " signal received" }

// Is reports that the context was cancelled.
func (e signalError) Is(target error) bool { return target == context.Canceled }
