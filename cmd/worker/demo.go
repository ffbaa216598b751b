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
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/schedule"
	"rekey/internal/wire"
)

// demoTimeout bounds the demo from its start to the end of the story; it needs 6 to 9 s.
const demoTimeout = 13 * time.Second

// demoDrain is how long the demo's worker waits for calls when it is interrupted.
const demoDrain = time.Second

// demoSchedule fires within a few seconds of the start, at a multiple of its period.
const demoSchedule = "@every 3s"

// demoScheduleName is the name of the schedule.
const demoScheduleName = "demo"

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
		Args:    want(),
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
	client    *fleet.Client
	token     string // A live bearer token that is to be revoked.
	secret    string // A client secret that is to be deleted.
	paused    bool   // The schedule has fired, and does not fire again.
	cleanups  []func() error
}

func (c *cli) demo(ctx context.Context, keep, verbose bool) (err error) {
	dir, err := os.MkdirTemp("", "rekey-demo-")
	if err != nil {
		return fmt.Errorf("making a folder for the demo: %w", err)
	}
	d := &demo{cli: c, cleanups: []func() error{func() error { return os.RemoveAll(dir) }}}
	defer func() { err = errors.Join(err, d.stop()) }()
	// alive ends with ctx, and when the worker ends by itself.
	alive, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := d.tell(alive, cancel, dir, verbose); err != nil {
		return err
	}
	if !keep {
		return nil
	}
	if err := d.operate(alive, schedule.ActionResume, "the story is over"); err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, "\nThe worker stays; interrupt to end.")
	<-alive.Done()
	if ctx.Err() == nil {
		return context.Cause(alive)
	}
	return nil
}

// tell starts everything and tells the story, within the time that a demo may take.
func (d *demo) tell(alive context.Context, died context.CancelCauseFunc, dir string, verbose bool) error {
	ctx, cancel := context.WithTimeoutCause(alive, demoTimeout, fmt.Errorf("it did not end within %s", demoTimeout))
	defer cancel()
	err := d.start(ctx, died, dir, verbose)
	if err == nil {
		err = d.show(ctx)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("the demo was cut off: %w", context.Cause(ctx))
	}
	return err
}

// stop undoes what start did, the latest first: the worker goes before the API that it calls.
func (d *demo) stop() error {
	var problems []error
	for len(d.cleanups) > 0 {
		last := len(d.cleanups) - 1
		problems = append(problems, d.cleanups[last]())
		d.cleanups = d.cleanups[:last]
	}
	return errors.Join(problems...)
}

// start starts sandbox and worker and connects to the worker's NATS server.
func (d *demo) start(ctx context.Context, died context.CancelCauseFunc, dir string, verbose bool) error {
	api, err := d.startSandbox(ctx)
	if err != nil {
		return err
	}
	cfg, err := demoConfig(dir, api)
	if err != nil {
		return err
	}
	if err := d.startWorker(ctx, died, cfg, verbose); err != nil {
		return err
	}
	if d.client, err = fleet.Dial(ctx, cfg, d.addresses.NATS, d.lookupEnv); err != nil {
		return err
	}
	d.cleanups = append(d.cleanups, func() error { d.client.Close(); return nil })
	return nil
}

// startSandbox serves the sandbox and returns its base URL.
func (d *demo) startSandbox(ctx context.Context) (string, error) {
	box, _, err := d.newSandbox(sandbox.Config{})
	if err != nil {
		return "", err
	}
	d.box, d.token = box, box.MintToken(sandbox.ClientID)
	d.secret, _ = box.Secret(sandbox.LeakedSecretID)
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listening for the sandbox: %w", err)
	}
	server := &http.Server{Handler: box, ReadHeaderTimeout: demoTimeout}
	served := begin(func() error { return server.Serve(listener) })
	d.cleanups = append(d.cleanups, func() error {
		// Its only caller has gone. Shutdown would wait for connections that were never used.
		err := server.Close()
		if served := <-served; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	})
	return "http://" + listener.Addr().String(), nil
}

// startWorker runs a worker and waits until it is ready. A worker that ends by itself calls died.
func (d *demo) startWorker(ctx context.Context, died context.CancelCauseFunc, cfg *config.Config, verbose bool) error {
	// The worker outlives ctx, so that it is stopped in its turn.
	running, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	ready := make(chan app.Addresses, 1)
	ended := begin(func() error {
		err := app.Run(running, d.options(cfg, verbose, func(a app.Addresses) { ready <- a }))
		died(errors.New("the worker ended"))
		return err
	})
	d.cleanups = append(d.cleanups, func() error { stop(jobs.ErrStopping); return <-ended })
	select {
	case d.addresses = <-ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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
	cfg.Worker.DrainTimeout = demoDrain
	cfg.Schedules = []config.Schedule{{
		Name: demoScheduleName, Cron: demoSchedule, TimeZone: "UTC", Missed: schedule.MissedSkip, MaxLate: time.Minute,
		Job: config.Job{
			Kind: sandbox.DemoScheduled, Account: "security", Reason: "scheduled rotation",
			Params: map[string]string{sandbox.DemoParam: sandbox.ProjectID},
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
	known := wire.KnownSecrets(cfg, d.secrets)
	log, _ := d.logger(cfg.Log, known)
	return app.Options{
		Config: cfg, Name: "demo", Version: release, Revision: revision, LookupEnv: d.secrets,
		Logger: log, Known: known, OnReady: ready,
	}
}

// secrets finds the sandbox's own secrets where the configuration looks for them.
func (d *demo) secrets(variable string) (string, bool) {
	if id, ok := sandboxAccounts()[variable]; ok {
		return d.box.Secret(id)
	}
	return d.lookupEnv(variable)
}
