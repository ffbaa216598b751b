package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"rekey/internal/api"
	"rekey/internal/atlas"
	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/console"
	"rekey/internal/door"
	"rekey/internal/event"
	"rekey/internal/expiry"
	"rekey/internal/httpserver"
	"rekey/internal/jobs"
	"rekey/internal/metrics"
	"rekey/internal/names"
	"rekey/internal/natsserver"
	"rekey/internal/notify"
	"rekey/internal/pace"
	"rekey/internal/readiness"
	"rekey/internal/redact"
	"rekey/internal/rotate"
	"rekey/internal/schedule"
	"rekey/internal/seal"
	"rekey/internal/search"
	"rekey/internal/tracing"
	"rekey/internal/wire"
)

// How long a part may take to stop.
const (
	stopGrace   = 15 * time.Second // Beyond the drain, to record what was cut off; and most parts.
	serverGrace = time.Minute      // The embedded server writes what it holds to its files.
	httpGrace   = 3 * time.Second  // A scrape in flight.
)

// Options are what a worker is made of.
type Options struct {
	Config    *config.Config
	Name      string // Name of this worker, unique in the fleet.
	Version   string
	Revision  string
	LookupEnv func(string) (string, bool) // Where secrets in environment variables are looked up.
	Logger    *zap.Logger
	// Known are the configuration's secrets, as KnownSecrets finds them: the Logger's sink may have to know them as well.
	// Nil: they are found.
	Known *redact.Known
	// Reload says what makes the worker take over another configuration. Zero: nothing does.
	Reload Reload
	// OnReady, when set, gets once the addresses of the worker, when it takes events.
	OnReady func(Addresses)
}

// Addresses are where a running worker can be reached. They are empty where it cannot.
type Addresses struct {
	NATS string // URL of the embedded server.
	HTTP string // host:port of metrics and health.
	API  string // host:port of the HTTP API.
}

// worker is a worker while it runs.
type worker struct {
	Options
	log      *zap.Logger
	metrics  *metrics.Metrics
	gatherer prometheus.Gatherer
	embedded *natsserver.Server
	conn     *bus.Conn
	tracer   *tracing.Tracer
	atlas    *atlas.Client
	keys     *seal.Keyring
	fanout   *jobs.Fanout
	notifier *notifier
	ready    *readiness.Checks
	tells    *search.Self
	http     *httpserver.Server
	consoles []*console.Console // That of http.listen, and that of the API.
	pages    *console.Console   // That of the API. Nil where there is none.
	api      *api.Server        // Nil where there is no HTTP API.
	bodies   *httpserver.Bodies // Of strangers, at doors and the console. Those of clients of the HTTP API do not wait for them.
	trail    trail
	// doors are those that are open; doorsChanged holds a token after others were opened.
	doors        atomic.Pointer[door.Doors]
	doorsChanged chan struct{}
	workers      *bus.Workers // Nil until jobs are taken.
	self         *wire.Identity
	fresh        jobs.Fresh
	others       others
	forbidden    forbidden
	lost         chan struct{} // Holds a token after the messages of jobs were lost.
	upkeep       *bus.Upkeep
	prepared     preparation
	parts        supervision
	stack        stack
	signatures   event.Signatures

	// What a reload swaps.
	rotations atomic.Pointer[map[string]rotate.Spec]
	expiries  *expiry.Watch
	runner    *liveRunner
	scheduler *schedule.Scheduler
	firer     *firer
	running   atomic.Pointer[config.Config] // The configuration that is in force.
}

// Run builds a worker and runs it until ctx ends; then it stops in order: schedules,
// consumers (draining what is in flight), HTTP, NATS last.
func Run(ctx context.Context, opts Options) error {
	if opts.Known == nil {
		opts.Known = wire.KnownSecrets(opts.Config, opts.LookupEnv)
	}
	w := &worker{
		bodies:  httpserver.NewBodies(),
		Options: opts, log: opts.Logger.Named("app"),
		self: &wire.Identity{Worker: opts.Name, Instance: nuid.Next()}, lost: make(chan struct{}, 1), doorsChanged: make(chan struct{}, 1),
	}
	w.running.Store(opts.Config)
	// Parts outlive ctx: they are stopped one by one.
	err := w.start(ctx)
	if err == nil {
		<-ctx.Done()
		w.log.Info("stopping", zap.Duration("drain_timeout", opts.Config.Worker.DrainTimeout))
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		err = nil // Stopped before it was ready.
	}
	begun := time.Now()
	err = errors.Join(err, w.stack.stop(w.log)) //nolint:contextcheck // Stopping outlasts ctx.
	w.stopped(time.Since(begun), err)
	return err
}

// stopped writes the last line of a worker: what became of the jobs that it had when it began to stop.
func (w *worker) stopped(took time.Duration, err error) {
	var d bus.Drained
	if w.workers != nil {
		d = w.workers.Drained()
	}
	line := []zap.Field{
		zap.Int("jobs_finished", d.Finished), zap.Int("jobs_put_back", d.PutBack), zap.Int("jobs_cut_off", d.CutOff), zap.Duration("duration", took),
	}
	if d.Unconfirmed > 0 {
		line = append(line, zap.Int("jobs_not_confirmed", d.Unconfirmed))
	}
	if err != nil {
		w.log.Error("stopped", append(line, zap.Error(err))...)
		return
	}
	w.log.Info("stopped", line...)
}

// start builds everything in the order in which one part needs the other.
func (w *worker) start(ctx context.Context) error {
	if err := w.startMetrics(); err != nil {
		return err
	}
	if err := w.startTracing(ctx); err != nil {
		return err
	}
	if err := w.startNATS(); err != nil { //nolint:contextcheck // As the other parts.
		return err
	}
	if err := w.startKeys(); err != nil {
		return err
	}
	if err := w.startAtlas(); err != nil {
		return err
	}
	if err := w.startReadiness(); err != nil { //nolint:contextcheck // As the other parts.
		return err
	}
	if err := w.startHTTP(); err != nil { //nolint:contextcheck // As the other parts: it outlives ctx.
		return err
	}
	if err := w.startAPI(); err != nil { //nolint:contextcheck // As the other parts.
		return err
	}
	storage, err := w.prepare(ctx)
	if err != nil {
		return err
	}
	w.trail.open()
	w.startNotify(storage) //nolint:contextcheck // As the other parts.
	w.startRecovery(ctx, storage)
	if err := w.startJobs(storage); err != nil { //nolint:contextcheck // As the other parts.
		return err
	}
	if err := w.startSchedules(storage); err != nil { //nolint:contextcheck // As the other parts.
		return err
	}
	w.serveAPI(w.Config, storage)
	w.showRules(ctx, w.Config)
	w.startReload(storage) //nolint:contextcheck // As the other parts.
	w.announce(ctx)
	return nil
}

func (w *worker) startMetrics() error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	schedules := make([]string, len(w.Config.Schedules))
	for i, s := range w.Config.Schedules {
		schedules[i] = s.Name
	}
	m, err := metrics.New(metrics.Config{
		Registerer: registry, Kinds: jobs.Names(jobs.Kinds()), Lanes: jobs.Names(jobs.Lanes()),
		Outcomes: jobs.Names(jobs.Outcomes()), Verdicts: jobs.Names(jobs.Verdicts()), Reasons: jobs.Names(jobs.Reasons()), Origins: jobs.Names(jobs.Origins()),
		EventResults: jobs.Names(jobs.EventResults()), Operations: atlas.Operations(), Schedules: schedules,
		Skips: jobs.Names(schedule.Skips()), Buckets: atlas.Buckets(), Streams: w.streams(), Parts: parts(),
		Version: w.Version, Revision: w.Revision,
		Policies: wire.PolicyNames(w.Config), Decisions: jobs.Decisions(),
		Receivers: wire.ReceiverNames(wire.Receivers(w.Config)), NotificationResults: notify.Results(),
		Doors: wire.DoorNames(w.Config), DoorResults: jobs.Names(door.Results()), Routes: api.Routes(),
		Rotations: wire.RotationNames(w.Config), RotationResults: rotate.Results(), RotationSteps: jobs.Names(jobs.RotationSteps()),
	})
	if err != nil {
		return fmt.Errorf("building the metrics: %w", err)
	}
	w.metrics, w.gatherer = m, registry
	m.Reloaded(true, time.Now())
	m.SetSecretExpiries(wire.SecretExpiries(w.Config))
	m.SetWatchedExpiries(nil)
	return nil
}

func (w *worker) startNATS() error {
	if w.Config.NATS.IsEmbedded() {
		cfg, err := wire.EmbeddedConfig(w.Config.NATS.Embedded, w.LookupEnv, w.Logger)
		if err != nil {
			return err
		}
		cfg.OnFailure = func() { w.metrics.PartFailed(partServer) }
		if w.embedded, err = natsserver.Start(cfg); err != nil {
			return err
		}
		w.stack.push(partServer, serverGrace, func(context.Context) error { w.embedded.Stop(); return nil })
		w.background(partStore, w.embedded.Run)
	}
	cfg, err := wire.ConnectConfig(w.Config.NATS, w.LookupEnv)
	if err != nil {
		return err
	}
	if cfg.Sign, w.signatures, err = wire.Signatures(w.Config.Intake, w.LookupEnv); err != nil {
		return err
	}
	cfg.Embedded, cfg.Name, cfg.Logger = w.embedded, "rekey/"+w.Version+" "+w.Name, w.Logger
	w.forbidden.names = names.New(w.Config.NATS.Namespace)
	cfg.Wait, cfg.Recorder, cfg.OnForbidden = true, w.metrics, w.forbidden.hear
	if w.conn, err = bus.Connect(cfg); err != nil {
		return err
	}
	w.stack.push("NATS connection", stopGrace, func(context.Context) error { w.conn.Close(); return nil })
	return nil
}

func (w *worker) startAtlas() error {
	cfg := wire.AtlasConfig(w.Config, w.LookupEnv)
	cfg.Version, cfg.Recorder, cfg.Logger, cfg.Pace = w.Version, w.metrics, w.Logger,
		pace.NewStates(bus.Store[pace.State](w.conn, w.conn.Names().Pace()), w.conn.Clock())
	cfg.Known = w.Known
	cfg.TokenFiles = func(path string) error { return wire.MayRead(w.running.Load(), path, w.LookupEnv) }
	var err error
	if cfg.Stores, err = wire.SecretStores(w.Config.Vault, w.LookupEnv); err != nil {
		return err
	}
	cfg.Middleware, cfg.Trace = w.tracer.Transport, tracing.Parent
	if !w.Config.NATS.IsEmbedded() {
		cfg.Tokens = wire.TokenStore{Shared: wire.Tokens(w.conn), Keys: w.keys, Clock: w.conn.Clock(), Self: w.self}
	}
	client, err := atlas.New(cfg)
	if err != nil {
		return err
	}
	w.atlas = client
	w.stack.push("API connections", stopGrace, func(context.Context) error { client.Close(); return nil })
	return nil
}

// announce says where the worker is and whether it is ready, as /readyz does.
func (w *worker) announce(ctx context.Context) {
	var addresses Addresses
	if w.embedded != nil {
		addresses.NATS = w.embedded.URL()
	}
	if w.http != nil {
		addresses.HTTP = w.http.Addr()
	}
	if w.api != nil {
		addresses.API = w.api.Addr()
	}
	state := "ready"
	accounts := w.accountsReady(ctx)
	if accounts != nil {
		w.log.Warn("an account cannot be used", zap.Error(accounts))
	}
	if cmp.Or(accounts, w.streamsReady(), w.conn.Clock().Check()) != nil { // The upkeep has logged the others.
		state = "started, but not ready"
	}
	// The configuration allows no credentials in a URL.
	nats := cmp.Or(addresses.NATS, w.Config.NATS.URL, "inside this process")
	w.log.Info(state, zap.String("worker", w.Name), zap.String("version", w.Version), zap.String("nats", nats),
		zap.String("http", addresses.HTTP), apiField(addresses.API), zap.Int("concurrency", w.Config.Worker.Concurrency),
		zap.String("seal_key", w.keys.ID()), zap.Int("accounts", len(w.Config.Atlas.Accounts)), zap.Int("schedules", len(w.Config.Schedules)))
	if w.OnReady != nil {
		w.OnReady(addresses)
	}
}
