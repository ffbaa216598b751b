// Package demo runs a worker against the stand-in for the API and tells what comes of some events.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"rekey/configs"
	"rekey/internal/app"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/redact"
	"rekey/internal/schedule"
	"rekey/internal/terminal"
	"rekey/internal/wire"
)

// timeout bounds the demo from its start to the end of the story; it needs 6 to 9 s.
const timeout = 13 * time.Second

// drain is how long the demo's worker waits for calls when it is interrupted.
const drain = time.Second

// tokenLifetime bounds how many tokens the program has that is rotated: the API gives out no more than 100 at a time.
const tokenLifetime = 20 * time.Second

// cron fires within a few seconds of the start, at a multiple of its period.
const cron = "@every 3s"

// scheduleName is the name of the schedule.
const scheduleName = "demo"

// Config is what the demo needs of the command.
type Config struct {
	Out       io.Writer
	Width     int                    // The columns of Out, into which its lines are folded; 0 has no limit.
	Table     func() *terminal.Table // Begins a table on Out.
	Logger    func(config.Log, *redact.Known) (*zap.Logger, zap.AtomicLevel)
	Version   string
	Revision  string
	LookupEnv func(string) (string, bool)
	Keep      bool // After the story, go on until ctx ends.
	Verbose   bool // Let the worker log what is not an error, too.
}

// demo is one run of the demo.
type demo struct {
	Config
	box       *sandbox.Sandbox
	addresses app.Addresses
	client    *fleet.Client
	token     string // A live bearer token that is to be revoked.
	secret    string // A client secret that is to be deleted.
	user      user   // Of the service account that is rotated.
	paused    bool   // The schedule has fired, and does not fire again.
	cleanups  []func() error
}

// Run runs the demo.
func Run(ctx context.Context, cfg Config) (err error) {
	dir, err := os.MkdirTemp("", "rekey-demo-")
	if err != nil {
		return fmt.Errorf("making a folder for the demo: %w", err)
	}
	d := &demo{Config: cfg, cleanups: []func() error{func() error { return os.RemoveAll(dir) }}}
	defer func() { err = errors.Join(err, d.stop()) }()
	// alive ends with ctx, and when the worker ends by itself.
	alive, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := d.tell(alive, cancel, dir); err != nil {
		return err
	}
	if !cfg.Keep {
		return nil
	}
	if err := d.operate(alive, schedule.ActionResume, "the story is over"); err != nil {
		return err
	}
	d.say("\nThe worker stays; interrupt to end. Its console: http://%s/\n", d.addresses.HTTP)
	<-alive.Done()
	if ctx.Err() == nil {
		return context.Cause(alive)
	}
	return nil
}

// say writes whole lines.
func (d *demo) say(format string, values ...any) {
	fmt.Fprint(d.Out, terminal.Fold(fmt.Sprintf(format, values...), d.Width))
}

// tell starts everything and tells the story, within the time that a demo may take.
func (d *demo) tell(alive context.Context, died context.CancelCauseFunc, dir string) error {
	ctx, cancel := context.WithTimeoutCause(alive, timeout, fmt.Errorf("it did not end within %s", timeout))
	defer cancel()
	err := d.start(ctx, died, dir)
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
func (d *demo) start(ctx context.Context, died context.CancelCauseFunc, dir string) error {
	api, err := d.startSandbox(ctx)
	if err != nil {
		return err
	}
	if err := d.startUser(ctx, api, dir); err != nil {
		return err
	}
	cfg, err := configure(dir, api)
	if err != nil {
		return err
	}
	if err := d.startWorker(ctx, died, cfg); err != nil {
		return err
	}
	if d.client, err = fleet.Dial(ctx, cfg, d.addresses.NATS, d.LookupEnv); err != nil {
		return err
	}
	d.cleanups = append(d.cleanups, func() error { d.client.Close(); return nil })
	return nil
}

// startSandbox serves the sandbox and returns its base URL.
func (d *demo) startSandbox(ctx context.Context) (string, error) {
	// A program that gets a token for each use needs more than the vendor allows in a minute.
	many := sandbox.Bucket{Capacity: 1000, Refill: 1000, Every: time.Minute}
	box, _, err := NewSandbox(sandbox.Config{Buckets: map[string]sandbox.Bucket{sandbox.BucketToken: many}, TokenLifetime: tokenLifetime}, d.LookupEnv)
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
	server := &http.Server{Handler: box, ReadHeaderTimeout: timeout}
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
func (d *demo) startWorker(ctx context.Context, died context.CancelCauseFunc, cfg *config.Config) error {
	// The worker outlives ctx, so that it is stopped in its turn.
	running, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	ready := make(chan app.Addresses, 1)
	ended := begin(func() error {
		err := app.Run(running, d.options(cfg, func(a app.Addresses) { ready <- a }))
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

// configure is configs/demo.yaml with everything in one folder, on free ports, and with a
// schedule.
func configure(dir, api string) (*config.Config, error) {
	cfg, err := config.Parse("configs/demo.yaml", configs.Demo)
	if err != nil {
		return nil, err
	}
	cfg.Atlas.BaseURL = api
	cfg.NATS.Embedded.Listen, cfg.NATS.Embedded.StoreDir = "127.0.0.1:0", filepath.Join(dir, "store")
	cfg.HTTP.Listen = "127.0.0.1:0"
	cfg.Worker.DrainTimeout = drain
	cfg.Rotations = []config.Rotation{rotation(dir)}
	cfg.Schedules = []config.Schedule{{
		Name: scheduleName, Cron: cron, TimeZone: "UTC", Missed: schedule.MissedSkip, MaxLate: time.Minute,
		Job: config.Job{
			Kind: sandbox.DemoScheduled, Account: "security", Reason: "scheduled rotation",
			Params: map[string]string{sandbox.DemoParam: sandbox.ProjectID},
		},
	}}
	return cfg, nil
}

func (d *demo) options(cfg *config.Config, ready func(app.Addresses)) app.Options {
	cfg.Log.Level = "error"
	if d.Verbose {
		cfg.Log.Level = "info"
	}
	known := wire.KnownSecrets(cfg, d.secrets)
	log, _ := d.Logger(cfg.Log, known)
	return app.Options{
		Config: cfg, Name: "demo", Version: d.Version, Revision: d.Revision, LookupEnv: d.secrets,
		Logger: log, Known: known, OnReady: ready,
	}
}

// secrets finds the sandbox's own secrets where the configuration looks for them.
func (d *demo) secrets(variable string) (string, bool) {
	if id, ok := accounts()[variable]; ok {
		return d.box.Secret(id)
	}
	return d.LookupEnv(variable)
}
