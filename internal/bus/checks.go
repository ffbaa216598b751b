package bus

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/jobs"
	"rekey/internal/layout"
	"rekey/internal/quiet"
)

// Checker takes a delivered check one step further.
type Checker interface {
	// Check is about the target of a job that has just succeeded.
	Check(ctx context.Context, d jobs.Delivery) (jobs.Settlement, error)
	// Watch is about a dead target that may be put back.
	Watch(ctx context.Context, d jobs.Delivery) (jobs.Settlement, error)
}

// step is one of the two.
type step func(ctx context.Context, d jobs.Delivery) (jobs.Settlement, error)

// Checks makes the checks of what jobs did, in slots of their own.
type Checks struct {
	Conn    *Conn
	Checker Checker
	Slots   int         // Checks that are made at once.
	Sealer  jobs.Sealer // Opens what checks hold sealed.
	// Busy reports whether jobs wait for a slot of this worker. Each check waits for busyPause then: processor and disk are theirs. Nil:
	// none ever does.
	Busy   func() bool
	Logger *zap.Logger

	failures quiet.Failures
}

// busyPause is how long a check waits for jobs.
const busyPause = 500 * time.Millisecond

// Run makes checks until ctx ends, which cuts off those under way. They are made again.
func (c *Checks) Run(ctx context.Context) error {
	log := c.Logger.Named("checks")
	steps := []step{c.Checker.Check, c.Checker.Watch}
	var pullers []*puller
	for _, want := range layout.CheckConsumers(c.Conn.names) {
		cons, err := c.Conn.consumer(ctx, want)
		if err != nil {
			return err
		}
		pullers = append(pullers, newPuller(c.Conn, cons, 2*c.Slots, log))
	}
	var serving sync.WaitGroup
	for i, p := range pullers {
		serving.Go(func() { p.serve(ctx, c.Slots, func(h *delivery) { c.handle(ctx, log, h, steps[i]) }) })
	}
	serving.Wait()
	return nil
}

// handle makes one check and settles its message. Once the worker stops, the message goes back.
func (c *Checks) handle(ctx context.Context, log *zap.Logger, h *delivery, do step) {
	var settlement jobs.Settlement
	var err error
	if c.Busy != nil && c.Busy() {
		_ = backoff.Sleep(ctx, busyPause) // The end of ctx is looked at next.
	}
	if ctx.Err() == nil {
		settlement, err = c.check(ctx, log, h, do)
	}
	if err != nil {
		settlement = jobs.Settlement{Delay: redeliverDelay(h.meta.NumDelivered)}
		c.failures.Warn(log, "the check is not settled; it is redelivered", err, zap.Duration("delay", settlement.Delay))
	}
	h.drop()
	if err := settle(ctx, c.Conn.nc, h.Msg, settlement); err != nil {
		c.failures.Warn(log, "the server did not confirm the settlement; the check is redelivered", err)
	}
}

func (c *Checks) check(ctx context.Context, log *zap.Logger, h *delivery, do step) (jobs.Settlement, error) {
	job, err := decodeJob(h.Data())
	if err != nil {
		return jobs.Settlement{Done: true}, c.Conn.deadLetterJob(context.WithoutCancel(ctx), h, err)
	}
	if job.Params, err = job.Params.Open(c.Sealer); err != nil {
		c.failures.Warn(log, "a secret of the check cannot be opened here", err, zap.String("job_id", job.ID))
	}
	return do(ctx, jobs.Delivery{Job: job, Count: h.meta.NumDelivered})
}
