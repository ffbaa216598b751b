package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"rekey/configs"
	"rekey/internal/app"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
)

// demoTimeout bounds the demo; it needs about 5 s.
const demoTimeout = 14 * time.Second

// demoSchedule fires within a few seconds of the start, at a multiple of its period.
const demoSchedule = "@every 3s"

func (c *cli) demoCommand() *cobra.Command {
	var keep, verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole way from an event to a dead credential, on this machine only",
		Long: `Run a worker with an embedded NATS server in a temporary folder against a stand-in for the
Atlas API, publish real events, let a real schedule fire, and show what came of it. Nothing
outside of this machine is contacted. It ends by itself; with --keep it goes on until it is
interrupted, so that you can look around.`,
		Example: "  worker demo\n  worker demo --keep",
		Args:    args(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.demo(cmd.Context(), keep, verbose) },
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "go on until interrupted")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the worker's log on standard error")
	return cmd
}

// demo is one run of the demo.
type demo struct {
	*cli
	box       *sandbox.Sandbox
	addresses app.Addresses
	client    *app.Client
	token     string // A live bearer token that is to be revoked.
}

func (c *cli) demo(ctx context.Context, keep, verbose bool) (err error) {
	dir, err := os.MkdirTemp("", "rekey-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{cli: c}
	running, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	stopped, err := d.start(ctx, running, stop, dir, verbose)
	if err == nil {
		err = d.show(ctx)
		d.client.Close()
		if keep && err == nil {
			fmt.Fprintln(c.stdout, "\nStill running; interrupt to end.")
			<-ctx.Done()
		}
	}
	stop(jobs.ErrStopping)
	for _, end := range stopped {
		err = errors.Join(err, <-end)
	}
	return err
}

// start starts sandbox and worker. What it returns says when each has stopped.
func (d *demo) start(ctx, running context.Context, stop context.CancelCauseFunc, dir string, verbose bool) ([]<-chan error, error) {
	box, _, err := d.newSandbox()
	if err != nil {
		return nil, err
	}
	d.box, d.token = box, box.MintToken(sandbox.ClientID)
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the sandbox: %w", err)
	}
	stopped := []<-chan error{begin(func() error { return box.Serve(running, listener) })}
	cfg, err := demoConfig(dir, "http://"+listener.Addr().String())
	if err != nil {
		return stopped, err
	}
	ready := make(chan app.Addresses, 1)
	ended := begin(func() error {
		err := app.Run(running, d.options(cfg, verbose, func(a app.Addresses) { ready <- a }))
		stop(err) // Nobody waits for a worker that could not start.
		return err
	})
	stopped = append(stopped, ended)
	select {
	case d.addresses = <-ready:
	case <-running.Done():
		return stopped, errors.New("the worker did not start")
	case <-ctx.Done():
		return stopped, context.Cause(ctx)
	}
	d.client, err = app.Dial(ctx, cfg, d.addresses.NATS, d.lookupEnv)
	return stopped, err
}

// begin runs f and returns where its error comes out.
func begin(f func() error) <-chan error {
	end := make(chan error, 1)
	go func() { end <- f() }()
	return end
}

// demoConfig is configs/demo.yaml with everything in one folder, on free ports, and with a
// schedule.
func demoConfig(dir, api string) (*config.Config, error) {
	cfg, err := config.Parse("configs/demo.yaml", configs.Demo)
	if err != nil {
		return nil, err
	}
	cfg.Atlas.BaseURL = api
	cfg.NATS.Embedded.Listen, cfg.NATS.Embedded.StoreDir = "127.0.0.1:0", filepath.Join(dir, "store")
	cfg.HTTP.Listen = "127.0.0.1:0"
	cfg.Schedules = []config.Schedule{{
		Name: "demo", Cron: demoSchedule, TimeZone: "UTC", Missed: schedule.MissedSkip, MaxLate: time.Minute,
		Job: config.Job{
			Kind: jobs.X509Disable, Account: "security", Reason: "scheduled rotation",
			Params: map[string]string{jobs.ParamProjectID: sandbox.ProjectID},
		},
	}}
	return cfg, nil
}

func (d *demo) options(cfg *config.Config, verbose bool, ready func(app.Addresses)) app.Options {
	cfg.Log.Level = "error"
	if verbose {
		cfg.Log.Level = "info"
	}
	release, revision := buildVersion()
	return app.Options{
		Config: cfg, Name: "demo", Version: release, Revision: revision, LookupEnv: d.secrets,
		Logger: d.logger(cfg.Log), OnReady: ready,
	}
}

// secrets finds the sandbox's own secrets where the configuration looks for them.
func (d *demo) secrets(variable string) (string, bool) {
	if id, ok := sandboxAccounts()[variable]; ok {
		return d.box.Secret(id)
	}
	return d.lookupEnv(variable)
}

// metrics fetches the worker's metrics as a scrape would.
func (d *demo) metrics(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.addresses.HTTP+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(req)
}
