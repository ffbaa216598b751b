package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"rekey/internal/backoff"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/rotate"
	"rekey/internal/schedule"
	"rekey/internal/stores"
	"rekey/internal/wire"
)

// Reload says what makes a worker take over another configuration while it runs.
type Reload struct {
	// File is the configuration file. It is looked at every two seconds, and taken over when it has changed and is the same
	// twice: an editor may be in the middle of writing it. What the path leads to may change as well, as when Kubernetes
	// swaps the symbolic links of a ConfigMap. Empty: there is none.
	File string
	// Asked asks for a reload although nothing has changed, at a SIGHUP. It waits, too, until a file that has changed is the same twice. Nil:
	// there is no such request.
	Asked <-chan os.Signal
	// Level is the level of the Logger. The zero level cannot be set, and a change of log.level needs a restart.
	Level zap.AtomicLevel
}

const (
	// lookEvery is how often the file is looked at.
	lookEvery = 2 * time.Second
	// retryReload is how long after a reload that failed for something outside of the file it is attempted again: the
	// secret of a new account may be mounted later than the file.
	retryReload = 15 * time.Second
	// A file that has changed when a reload is asked for is looked at more often until it is the same twice. One that still changes after so many
	// looks is left to the next that finds it so.
	settleEvery = 250 * time.Millisecond
	settleLooks = 20
)

// reloader takes over configurations.
type reloader struct {
	*worker
	storage storage
	files   *config.Files

	tried  [sha256.Size]byte // Of the file as it was last taken over, or could not be.
	seen   [sha256.Size]byte // Of the file as it was when it was last looked at.
	failed error             // Why the last reload failed.
	again  time.Time         // When a failed one is attempted again. Zero: when the file changes.
}

// startReload starts looking for another configuration.
func (w *worker) startReload(s storage) {
	if w.Reload.File == "" {
		return
	}
	r := &reloader{worker: w, storage: s, files: config.NewFiles(w.Reload.File)}
	// The file may have changed since it was read for the start.
	sum := r.files.Sum()
	if now, err := config.Load(w.Reload.File); err == nil && len(config.Changes(w.Config, now)) == 0 {
		r.tried = sum
	}
	w.background(partConfig, r.run)
}

// run looks at the file, and takes it over when it has changed or on request, until ctx ends.
func (r *reloader) run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.Reload.Asked:
			var settled bool
			if r.seen, settled = settle(ctx, r.seen, r.files.Sum, settleEvery); settled {
				r.attempt(ctx, true)
			}
		case <-ticker.C:
			r.Known.Look() // A secret may be rotated without a change of the file.
			r.attempt(ctx, false)
		}
	}
}

// settle looks until a sum is the one that was seen before, and returns the one that was seen last and whether it is.
func settle(ctx context.Context, seen [sha256.Size]byte, look func() [sha256.Size]byte, every time.Duration) (last [sha256.Size]byte, settled bool) {
	for range settleLooks {
		now := look()
		if now == seen {
			return now, true
		}
		if seen = now; backoff.Sleep(ctx, every) != nil {
			break
		}
	}
	return seen, false
}

// attempt takes the file over if that is due. One that cannot be read counts as changed: it is logged once, and the old
// configuration runs on.
func (r *reloader) attempt(ctx context.Context, asked bool) {
	sum := r.files.Sum()
	settled := sum == r.seen
	r.seen = sum
	now := time.Now()
	retry := !r.again.IsZero() && !now.Before(r.again)
	if !asked && (!settled || sum == r.tried && !retry) {
		return
	}
	r.tried, r.again = sum, time.Time{}
	err := r.load(ctx)
	r.metrics.Reloaded(err == nil, now)
	if _, mistakes := errors.AsType[*config.Invalid](err); err != nil && !mistakes {
		r.again = now.Add(retryReload)
	}
	// The same failure of a repeated attempt is not told again.
	if err != nil && (asked || r.failed == nil || r.failed.Error() != err.Error()) {
		r.log.Error("the configuration is not reloaded; the old one runs on", zap.String("file", r.Reload.File), zap.Error(err))
	}
	r.failed = err
}

// load takes over a configuration: everything that can fail is checked first, then everything is swapped.
func (r *reloader) load(ctx context.Context) error {
	if r.files.IsEmpty() {
		return errors.New("the file is empty") // At the start it would mean all defaults. Here it is about to be written.
	}
	next, err := config.Load(r.Reload.File)
	if err != nil {
		return err
	}
	p, err := r.prepareSwap(ctx, next)
	if err != nil {
		return err
	}
	if err := r.swap(ctx, p); err != nil {
		return err
	}
	before := r.running.Swap(next)
	changed := slices.DeleteFunc(config.Changes(before, next), func(key string) bool { return !config.IsReloaded(key) })
	r.showRules(ctx, next)
	r.log.Info("configuration reloaded", zap.Strings("changed", changed),
		zap.Int("accounts", len(next.Atlas.Accounts)), zap.Int("schedules", len(next.Schedules)), zap.Int("policies", len(next.Policies.List)))
	if waiting := slices.DeleteFunc(config.Changes(r.Config, next), config.IsReloaded); len(waiting) > 0 {
		r.log.Warn("these keys have changed and need a restart; until then they stay as they were", zap.Strings("keys", waiting))
	}
	return nil
}

// swapped is what takes the place of what runs.
type swapped struct {
	config   *config.Config
	level    zapcore.Level
	specs    []schedule.Spec
	names    []string
	requests wire.Requests
	runner   *jobs.Runner
	rules    *jobs.Rules

	rotations map[string]rotate.Spec
}

// prepareSwap builds and checks all that is to be swapped, and changes nothing.
func (r *reloader) prepareSwap(ctx context.Context, next *config.Config) (p swapped, err error) {
	p.config = next
	var problems []error
	note := func(err error) { problems = append(problems, err) }
	p.level, err = zapcore.ParseLevel(next.Log.Level)
	note(err)
	p.specs, err = wire.Specs(next.Schedules)
	note(err)
	note(schedule.Check(p.specs))
	p.requests, err = wire.NewRequests(next.Schedules)
	note(err)
	p.runner, err = r.runner.with(wire.RetryPolicy(next), next.Proof.Within > 0)
	note(err)
	p.rules, err = r.rulesOf(next)
	note(err)
	if err == nil {
		p.rules.DryRun = r.Config.Worker.DryRun // Of the whole worker, which needs a restart.
	}
	p.rotations, err = wire.Rotations(next, r.LookupEnv)
	note(err)
	note(r.atlas.CheckNewAccounts(ctx, wire.AtlasAccounts(next)))
	for _, s := range next.Schedules {
		p.names = append(p.names, s.Name)
	}
	return p, errors.Join(problems...)
}

// swap puts what was prepared into force. What it calls was checked, so that an error is one of the worker's end.
func (r *reloader) swap(ctx context.Context, p swapped) error {
	if r.Reload.Level != (zap.AtomicLevel{}) {
		r.Reload.Level.SetLevel(p.level)
	}
	r.Known.Use(wire.SecretPlaces(p.config))
	if err := r.atlas.SetAccounts(wire.AtlasAccounts(p.config)); err != nil {
		return err
	}
	r.atlas.SetMaxRetryAfter(p.config.Retry.RetryAfterCap)
	r.expiries.Use(wire.OwnAccounts(p.config), wire.Watched(p.config), p.config.Expiry.Every)
	r.runner.current.Store(p.runner)
	r.rotations.Store(&p.rotations)
	if err := r.metrics.SetRotations(wire.RotationNames(p.config)); err != nil {
		return err
	}
	r.fanout.Use(p.rules)
	r.notifier.use(wire.Receivers(p.config))
	r.serveAPI(p.config, r.storage)
	if r.api != nil {
		if err := r.useDoors(p.config); err != nil {
			return err
		}
	}
	if err := r.metrics.SetPolicies(wire.PolicyNames(p.config)); err != nil {
		return err
	}
	return r.swapSchedules(ctx, p)
}

// swapSchedules puts other schedules into force.
func (r *reloader) swapSchedules(ctx context.Context, p swapped) error {
	// Both old and new schedules have their requests and series while the scheduler changes over.
	both := wire.Requests{}
	names := slices.Clone(p.names)
	for name, request := range *r.firer.requests.Load() {
		both[name] = request
		if _, stays := p.requests[name]; !stays {
			names = append(names, name)
		}
	}
	maps.Copy(both, p.requests)
	r.firer.requests.Store(&both)
	if err := r.metrics.SetSchedules(names); err != nil {
		return err
	}
	if err := r.scheduler.Replace(ctx, p.specs); err != nil {
		return fmt.Errorf("changing the schedules: %w", err)
	}
	r.firer.requests.Store(&p.requests)
	if err := r.metrics.SetSchedules(p.names); err != nil {
		return err
	}
	if err := r.storage.schedules.MarkRemoved(ctx, p.requests, r.keeper(), r.conn.Clock().Now().UTC()); err != nil && ctx.Err() == nil {
		r.log.Warn("noting which schedules were removed; it is done within a minute", zap.Error(err))
	}
	return nil
}

// accounts are those that are configured now.
func (w *worker) accounts() []config.Account { return w.running.Load().Atlas.Accounts }

// liveRunner is a jobs.Runner that can be swapped for one with other settings. Runs that have begun end with the old ones.
type liveRunner struct {
	cfg     jobs.RunnerConfig
	current atomic.Pointer[jobs.Runner]
}

func newLiveRunner(cfg jobs.RunnerConfig) (*liveRunner, error) {
	l := &liveRunner{cfg: cfg}
	runner, err := jobs.NewRunner(cfg)
	l.current.Store(runner)
	return l, err
}

// with returns a runner with other settings, for current.
func (l *liveRunner) with(retry jobs.RetryPolicy, prove bool) (*jobs.Runner, error) {
	cfg := l.cfg
	cfg.Retry, cfg.Prove = retry, prove
	return jobs.NewRunner(cfg)
}

// Run takes a delivered job one step further.
func (l *liveRunner) Run(ctx context.Context, d jobs.Delivery) (jobs.Settlement, error) {
	return l.current.Load().Run(ctx, d)
}

// Begin runs a new job at once.
func (l *liveRunner) Begin(ctx context.Context, o jobs.Opened) (jobs.Settlement, error) {
	return l.current.Load().Begin(ctx, o)
}

// rulesOf makes the rules of intake from a configuration.
func (w *worker) rulesOf(c *config.Config) (*jobs.Rules, error) {
	rules, err := wire.NewRules(c, w.atlas, wire.Sealer{Keyring: w.keys}, w.atlas)
	if err == nil {
		rules.Others = func(ctx context.Context) ([]*jobs.Rules, error) { return w.others.rules(ctx, w) }
	}
	return rules, err
}

// showRules lets the commands see by which rules this worker goes. It works without.
func (w *worker) showRules(ctx context.Context, c *config.Config) {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	rules := stores.NewRules(c, w.Name, w.conn.Clock().Now())
	if err := stores.ShowRules(ctx, w.conn, rules); err != nil {
		w.log.Warn("the rules of intake are not shown: worker plan and worker policy backtest know those of before", zap.Error(err))
	}
}
