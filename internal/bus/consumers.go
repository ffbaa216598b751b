package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/jobs"
	"rekey/internal/layout"
	"rekey/internal/quiet"
)

// places remembers up to where each consumer had everything settled when it was seen last: one that was deleted is made
// anew from there. From its beginning it would hand over all that its stream still keeps, for which other policies may
// be in force by now.
type places struct {
	mu    sync.Mutex // Guards floor.
	floor map[string]uint64
}

// note keeps where a consumer is that is as it should be.
func (p *places) note(info *jetstream.ConsumerInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.floor == nil {
		p.floor = map[string]uint64{}
	}
	p.floor[info.Stream+" "+info.Name] = info.AckFloor.Stream
}

// of is where a consumer was last, 0 when that is not known.
func (p *places) of(c layout.Consumer) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.floor[c.Stream+" "+c.Durable]
}

// forget drops what is known of the consumers of a stream that was made anew.
func (p *places) forget(stream string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.floor {
		if strings.HasPrefix(key, stream+" ") {
			delete(p.floor, key)
		}
	}
}

// repair is what was done to a consumer. Empty: nothing had to be.
type repair string

// consumer returns a declared consumer, which all workers share. It is made where it is missing, and set back where it
// differs.
func (c *Conn) consumer(ctx context.Context, want layout.Consumer) (jetstream.Consumer, error) {
	if _, err := c.ensureConsumer(ctx, want); err != nil {
		return nil, err
	}
	cons, err := c.js.Consumer(ctx, want.Stream, want.Durable)
	if err != nil {
		return nil, fmt.Errorf("opening consumer %s of stream %s: %w", want.Durable, want.Stream, err)
	}
	return cons, nil
}

// ensureConsumer makes a declared consumer where it is missing, sets it back where it differs, and says what it did.
func (c *Conn) ensureConsumer(ctx context.Context, want layout.Consumer) (repair, error) {
	failed := func(doing string, err error) error {
		return fmt.Errorf("%s consumer %s of stream %s: %w", doing, want.Durable, want.Stream, err)
	}
	info, err := layout.Ask[*jetstream.ConsumerInfo](ctx, c, "CONSUMER.INFO."+want.Stream+"."+want.Durable, nil)
	if layout.HasCode(err, jetstream.JSErrCodeConsumerNotFound) {
		from := c.places.of(want)
		if err := c.makeConsumer(ctx, want, from); err != nil {
			return "", failed("creating", err)
		}
		if from > 0 {
			return "it was missing", nil
		}
		return "", nil // It is the first one, or a stream was made anew.
	}
	if err != nil {
		return "", failed("looking at", err)
	}
	differences := layout.ConsumerDifferences(want, info)
	if len(differences) == 0 {
		c.places.note(info)
		return "", nil
	}
	if err := c.setBack(ctx, want, info, differences); err != nil {
		return "", failed("setting back ("+texts(differences)+")", err)
	}
	return repair(texts(differences)), nil
}

func texts(list []layout.Difference) string {
	var all []string
	for _, s := range list {
		all = append(all, s.Text)
	}
	return strings.Join(all, "; ")
}

// makeConsumer creates a consumer that begins behind what was settled. A queue of work keeps nothing but what is not.
func (c *Conn) makeConsumer(ctx context.Context, want layout.Consumer, settled uint64) error {
	if settled > 0 && want.DeliverPolicy != jetstream.DeliverByStartTimePolicy {
		stream, err := layout.Ask[*jetstream.StreamInfo](ctx, c, "STREAM.INFO."+want.Stream, nil)
		if err != nil {
			return err
		}
		if stream.Config.Retention != jetstream.WorkQueuePolicy {
			want.DeliverPolicy, want.OptStartSeq = jetstream.DeliverByStartSequencePolicy, settled+1
		}
	}
	_, err := c.js.CreateConsumer(ctx, want.Stream, want.ConsumerConfig)
	if errors.Is(err, jetstream.ErrConsumerExists) { // Another worker was faster.
		return nil
	}
	if layout.HasCode(err, codeConsumerNotUnique) {
		if others, namesErr := c.otherConsumers(ctx, want); namesErr == nil {
			err = fmt.Errorf("another consumer of the stream takes its messages (there are %s): %w", others, err)
		}
	}
	return err
}

// codeConsumerNotUnique is the code of the server's API for a consumer of a queue of work whose filter another one has.
const codeConsumerNotUnique jetstream.ErrorCode = 10100

// otherConsumers are the consumers of the same stream.
func (c *Conn) otherConsumers(ctx context.Context, want layout.Consumer) (string, error) {
	found, err := layout.Ask[struct {
		Consumers []string `json:"consumers"`
	}](ctx, c, "CONSUMER.NAMES."+want.Stream, nil)
	names := slices.DeleteFunc(found.Consumers, func(name string) bool { return name == want.Durable })
	return strings.Join(names, ", "), err
}

// setBack makes a consumer what it should be. One that cannot become that is made anew where the workers were last.
func (c *Conn) setBack(ctx context.Context, want layout.Consumer, info *jetstream.ConsumerInfo, differences []layout.Difference) error {
	if slices.ContainsFunc(differences, func(s layout.Difference) bool { return s.Fixed }) {
		settled := c.places.of(want)
		if settled == 0 {
			settled = info.AckFloor.Stream
		}
		if err := c.js.DeleteConsumer(ctx, want.Stream, want.Durable); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
		return c.makeConsumer(ctx, want, settled)
	}
	have := info.Config
	want.DeliverPolicy, want.OptStartSeq, want.OptStartTime, want.MaxWaiting = have.DeliverPolicy, have.OptStartSeq, have.OptStartTime, have.MaxWaiting
	if info.Paused {
		if _, err := c.js.ResumeConsumer(ctx, want.Stream, want.Durable); err != nil {
			return err
		}
	}
	_, err := c.js.UpdateConsumer(ctx, want.Stream, want.ConsumerConfig)
	return err
}

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
