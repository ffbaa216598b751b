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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	c := &cli{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, lookupEnv: os.LookupEnv}
	return c.execute(ctx, os.Args[1:])
}
