package app

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"rekey/internal/audit"
	"rekey/internal/bus"
	"rekey/internal/expiry"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/names"
	"rekey/internal/pace"
	"rekey/internal/proof"
	"rekey/internal/rotate"
	"rekey/internal/search"
	"rekey/internal/stores"
	"rekey/internal/wire"
)

// The parts of a worker that are started again when they fail. A new one is listed in parts.
const (
	partServer    = "embedded NATS server"
	partStore     = "store watch"
	partUpkeep    = "streams and consumers"
	partReadiness = "readiness"
	partRecovery  = "unfinished jobs"
	partPauses    = "shared pauses"
	partStats     = "queue statistics"
	partStalled   = "stalled messages"
	partSearch    = "search"
	partWorkers   = "workers"
	partChecks    = "checks"
	partIntake    = "intake"
	partSchedules = "schedules"
	partRemoved   = "removed schedules"
	partConfig    = "configuration"
	partChain     = "chain of results"
	partProofs    = "chain of verdicts"
	partNotify    = "notifications"
	partDoors     = "doors"
	partRefusals  = "refused requests"
	partRotations = "rotations"
	partExpiries  = "expiries"
)

func parts() []string {
	return []string{
		partServer, partStore, partUpkeep, partReadiness, partRecovery, partPauses, partStats, partStalled, partSearch, partWorkers, partIntake, partSchedules, partRemoved,
		partConfig, partChain, partNotify, partDoors, partRefusals, partChecks, partProofs, partRotations,
		partExpiries,
	}
}

// streams are the streams and buckets that a worker writes to.
func (w *worker) streams() []string {
	names := names.New(w.Config.NATS.Namespace)
	return append(wire.StreamNames(names), wire.BucketNames(names, w.Config.NATS.Namespace)...)
}

// startJobs starts what takes events in and runs jobs.
func (w *worker) startJobs(s storage) error {
	chain, proofs := audit.NewChain(w.Name, w.conn.Clock().Now), audit.NewChain(w.Name+"/proofs", w.conn.Clock().Now)
	announcer := w.newAnnouncer(chain, proofs)
	runner, err := w.newRunner(s, announcer)
	if err != nil {
		return err
	}
	w.runner, w.workers = runner, &bus.Workers{
		Conn: w.conn, Runner: runner, Concurrency: w.Config.Worker.Concurrency,
		Kept:   pace.Kept(w.Config.Worker.Concurrency, wire.UrgentShare(w.Config)),
		Sealer: wire.Sealer{Keyring: w.keys}, Logger: w.Logger,
	}
	secrets := jobs.Secrets{Sealer: wire.Sealer{Keyring: w.keys}, Plaintext: w.Config.Intake.Plaintext, Known: w.Known}
	desk := jobs.NewIntake(s.ledger, s.ledger.Targets(), bus.NewQueue(w.conn), w.atlas, w.metrics, secrets, w.conn.Clock().Now)
	desk.Share(&w.fresh)
	if err := w.startPolicies(desk); err != nil {
		return err
	}
	intake := bus.Intake{
		Conn: w.conn, Secrets: secrets, Signatures: w.signatures, Recorder: w.metrics, Logger: w.Logger,
		Acceptor: w.tracedIntake(w.fanout), Slots: w.workers,
	}
	w.background(partPauses, w.atlas.Run)
	w.background(partStats, bus.Stats{Conn: w.conn, Running: w.workers.Queued, Ahead: w.workers.Ahead, Recorder: w.metrics, Logger: w.Logger}.Run)
	w.background(partStalled, bus.Stalled{Conn: w.conn, Secrets: secrets, Recorder: w.metrics, Logger: w.Logger}.Run)
	w.startExpiries()
	w.tells.Working(search.Work{InFlight: w.workers.Running, Ends: w.expiries.Ends})
	w.startSearch()
	w.background(partChain, func(ctx context.Context) error { return s.chains.Keep(ctx, chain) })
	w.background(partProofs, func(ctx context.Context) error { return s.chains.Keep(ctx, proofs) })
	w.background(partRotations, w.rotationMonitor(s).Run)
	w.background(partChecks, w.newChecks(s, announcer).Run)
	stopTaking := w.drained(partWorkers, w.workers.Run)
	w.background(partIntake, intake.Run)
	w.stack.push("readiness", stopGrace, func(context.Context) error { w.ready.Drain(); return nil })
	// While the parts above the workers end, which takes its time, no new call is made.
	w.stack.push("taking of jobs", stopGrace, func(context.Context) error { stopTaking(); return nil })
	return nil
}

// rotationMonitor shows how far each rotation is.
func (w *worker) rotationMonitor(s storage) rotate.Monitor {
	return rotate.Monitor{
		Names:  func() []string { return wire.RotationNames(w.running.Load()) },
		Ledger: s.ledger, Targets: s.ledger.Targets(), Gauges: w.metrics,
	}
}

// checkShare is the part of the slots of jobs that checks have as slots of their own beside them: their reads wait for the API most
// of the time.
const (
	checkShare  = 4
	leastChecks = 2
)

// newChecks returns what checks the targets of jobs that succeeded.
func (w *worker) newChecks(s storage, announcer *bus.Announcer) *bus.Checks {
	checker := proof.New(proof.Config{
		Policy: func() proof.Policy { return wire.ProofPolicy(w.running.Load()) },
		Ledger: s.ledger, Reader: w.atlas, Announcer: announcer, Retrier: fleet.Own(w.conn, s.ledger, w.Config, w.keys, w.Known).Operator(),
		Repeater: bus.NewRepeater(w.conn), Elsewhere: w.elsewhere, Recorder: w.metrics, Logger: w.Logger, Now: w.conn.Clock().Now,
	})
	return &bus.Checks{
		Busy: func() bool {
			return slices.ContainsFunc(jobs.Lanes(), func(l jobs.Lane) bool { return w.workers.Ahead(l) > 0 })
		},
		Conn: w.conn, Checker: checker, Slots: max(w.Config.Worker.Concurrency/checkShare, leastChecks), Sealer: wire.Sealer{Keyring: w.keys}, Logger: w.Logger,
	}
}

// newAnnouncer returns what publishes results, verdicts and checks. Without chains, it can publish checks.
func (w *worker) newAnnouncer(results, proofs *audit.Chain) *bus.Announcer {
	return bus.NewAnnouncer(w.conn, results, proofs, wire.Sealer{Keyring: w.keys})
}

// startExpiries starts what reads when the secrets of the worker's own accounts end, and the certificates and secrets that are watched.
func (w *worker) startExpiries() {
	w.expiries = expiry.New(expiry.Config{
		Accounts: wire.OwnAccounts(w.Config), Watched: wire.Watched(w.Config), Reader: w.atlas, Gauge: w.metrics,
		Every: w.Config.Expiry.Every, Logger: w.Logger,
	})
	w.background(partExpiries, w.expiries.Run)
}

// startSearch starts what answers searches.
func (w *worker) startSearch() {
	if w.Config.SearchInClear() {
		if !w.Config.Search.Off {
			w.Logger.Warn("the search is off: the store is encrypted, and the file of the search would not be; search.dir names a folder where it may be in the clear")
		}
		if err := search.Delete(w.Config.NATS.Embedded.StoreDir, w.Config.NATS.Namespace); err != nil {
			w.Logger.Error("a file of the search, from before the store was encrypted, cannot be deleted", zap.Error(err))
		}
		return
	}
	if w.Config.Search.Off {
		return
	}
	service := search.Service{
		Conn: w.conn, Dir: wire.SearchDir(w.Config), Self: w.tells,
		Recorder: w.metrics, OnFailure: func() { w.metrics.PartFailed(partSearch) }, Logger: w.Logger,
	}
	w.background(partSearch, service.Run)
}

// newRunner returns what takes a job one step further and announces how it ended.
func (w *worker) newRunner(s storage, announcer *bus.Announcer) (*liveRunner, error) {
	specs, err := wire.Rotations(w.Config, w.LookupEnv)
	if err != nil {
		return nil, err
	}
	w.rotations.Store(&specs)
	rotator := rotate.New(rotate.Config{
		Specs: func() map[string]rotate.Spec { return *w.rotations.Load() }, API: w.atlas, Accounts: w.atlas, Sealer: wire.Sealer{Keyring: w.keys},
		Recorder: w.metrics, Logger: w.Logger, Now: w.conn.Clock().Now,
	})
	return newLiveRunner(jobs.RunnerConfig{
		Worker: w.Name, Instance: w.self.Instance, Embedded: w.embedded != nil, Gone: w.isGone, Version: w.Version, CallTimeout: w.Config.Atlas.Timeout, Retry: wire.RetryPolicy(w.Config), Prove: w.Config.Proof.Within > 0,
		Ledger: s.ledger, Fresh: &w.fresh, Targets: s.ledger.Targets(), Queue: bus.NewQueue(w.conn), Revoker: w.tracedRevoker(w.atlas), Rotator: rotator, Pacer: w.atlas, Elsewhere: w.elsewhere,
		Announcer: w.tracedAnnouncer(announcer), Recorder: w.metrics, Logger: w.Logger, Now: w.conn.Clock().Now,
	})
}

// background runs a part until it is stopped, and starts it again when it fails.
func (w *worker) background(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	var part sync.WaitGroup
	part.Go(func() { w.keep(ctx, name, run) })
	w.stack.push(name, stopGrace, func(context.Context) error {
		cancel(jobs.ErrStopping)
		part.Wait()
		return nil
	})
}

// drained runs the part that makes calls. It is stopped in two steps: first it takes
// nothing new, for which stopTaking may also be called beforehand; then, after the drain
// timeout, what is still running is cut off.
func (w *worker) drained(name string, run func(ctx, pull context.Context) error) (stopTaking func()) {
	ctx, cut := context.WithCancelCause(context.Background())
	pull, stopPulling := context.WithCancelCause(ctx)
	stopTaking = func() { stopPulling(jobs.ErrStopping) }
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.keep(pull, name, func(pull context.Context) error { return run(ctx, pull) })
	}()
	w.stack.push(name, w.Config.Worker.DrainTimeout+2*stopGrace, func(context.Context) error {
		defer cut(jobs.ErrStopping)
		stopTaking()
		if within(done, w.Config.Worker.DrainTimeout) {
			return nil
		}
		w.log.Warn("the drain timeout is over: calls in flight are cut off", zap.Duration("drain_timeout", w.Config.Worker.DrainTimeout))
		cut(jobs.ErrStopping)
		if !within(done, stopGrace) {
			return errors.New("jobs did not end in time; they are redelivered when their lease is over")
		}
		return nil
	})
	return stopTaking
}

// within waits for done, at most for d, and reports whether it came.
func within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// startPolicies makes what turns events into jobs by the rules of the configuration.
func (w *worker) startPolicies(desk *jobs.Intake) error {
	rules, err := w.rulesOf(w.Config)
	if err != nil {
		return err
	}
	w.fanout = jobs.NewFanout(desk, stores.NewBudget(w.conn), w.metrics, rules)
	return nil
}
