// The program picture draws the pictures of the documents from what really runs.
//
// docs/demo-light.svg and docs/demo-dark.svg show a terminal in which "worker demo" has run:
//
//	go -C checks run ./picture demo
//
// docs/dashboard.svg shows the dashboard as Grafana would lay it out, from the answers of a real Prometheus, because
// Grafana itself cannot be installed where this is built:
//
//	go -C checks run ./picture -prometheus http://127.0.0.1:9090 -minutes 8 -o ../docs/dashboard.svg
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"rekey/checks/repo"
)

func main() {
	draw, args := dashboard, os.Args[1:]
	if len(args) > 0 && args[0] == "demo" {
		draw, args = demo, args[1:]
	}
	if err := draw(context.Background(), args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func dashboard(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("picture", flag.ContinueOnError)
	address := flags.String("prometheus", "http://127.0.0.1:9090", "`URL` of a Prometheus that scrapes workers")
	minutes := flags.Int("minutes", 10, "how many `MINUTES` up to now are shown")
	out := flags.String("o", "dashboard.svg", "the picture's `FILE`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := repo.Root(ctx)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(filepath.Join(root, "deploy", "grafana", "rekey.json"))
	if err != nil {
		return err
	}
	panels, err := repo.ReadDashboard(content)
	if err != nil {
		return err
	}
	to := time.Now().Truncate(time.Second)
	d := drawing{server: repo.Server{URL: *address}, from: to.Add(-time.Duration(*minutes) * time.Minute), to: to}
	if err := d.draw(ctx, panels); err != nil {
		return err
	}
	return os.WriteFile(*out, d.svg(), 0o644) //nolint:gosec // To be read by all.
}
