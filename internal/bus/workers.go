package bus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/layout"
	"rekey/internal/quiet"
)

// Runner takes a delivered job one step further.
type Runner interface {
	Run(ctx context.Context, d jobs.Delivery) (jobs.Settlement, error)
	// Begin runs a new job by the event that made it.
	Begin(ctx context.Context, o jobs.Opened) (jobs.Settlement, error)
}

// Workers run jobs from all lanes in a fixed number of slots. A job that waits for its
// next attempt holds no slot: the server has it.
type Workers struct {
	Conn        *Conn
	Runner      Runner
	Concurrency int // Jobs that run at once.
	// Kept is how many of the slots run urgent jobs only, so that calls of others that hang do not
	// hold up all. Less than Concurrency; zero keeps none.
	Kept   int
	Sealer jobs.Sealer // Opens what jobs hold sealed.
	// QueueAfter is how long a job that is run by its event may take before it is queued; default 8 s.
	QueueAfter time.Duration
	Logger     *zap.Logger

	mu       sync.Mutex // Guards the assignment of the next three.
	pullers  map[jobs.Lane]*puller
	offers   map[jobs.Lane]chan *delivery // Events whose jobs a slot that is free runs at once.
	stopping <-chan struct{}              // Closed when slots take nothing more.
	rota     rota
	running  atomic.Int64
	turns    atomic.Int64 // How often a slot became free.
	begun    atomic.Int64 // Of those, jobs that no message in the queue is about.
	drain    drain

	failures quiet.Failures
}

// Run takes jobs until pull ends, lets the running ones come to their end, and returns.
// ctx is what the running jobs see: cancelling it cuts them off. Jobs that were pulled and
// not begun go back to the server when the last pull request is over, within half a second.
func (w *Workers) Run(ctx, pull context.Context) error {
	if err := w.open(ctx, pull); err != nil {
		return err
	}
	alive, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	var keepers, pullers, slots sync.WaitGroup
	for _, f := range w.pullers {
		keepers.Go(func() { f.keepAlive(alive) })
		pullers.Go(func() { f.run(pull) })
	}
	for i := range w.Concurrency {
		slots.Go(func() { w.slot(ctx, pull, i < w.Kept) })
	}
	pullers.Wait()
	w.giveBack(ctx) // Before the running jobs end: other workers have slots for these.
	slots.Wait()
	stopKeeping()
	keepers.Wait()
	return nil
}

// open makes the feeds of all lanes.
func (w *Workers) open(ctx, pull context.Context) error {
	feeds := map[jobs.Lane]*puller{}
	for _, lane := range jobs.Lanes() {
		cons, err := w.Conn.consumer(ctx, layout.LaneConsumer(w.Conn.names, lane))
		if err != nil {
			return err
		}
		feeds[lane] = newPuller(w.Conn, cons, 2*w.Concurrency, w.Logger.Named("workers"))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pullers, w.offers, w.stopping = feeds, map[jobs.Lane]chan *delivery{}, pull.Done()
	for _, lane := range jobs.Lanes() {
		w.offers[lane] = make(chan *delivery)
	}
	return nil
}

// Running is how many jobs run in this worker now.
func (w *Workers) Running() int { return int(w.running.Load()) }

// Queued is how many of the jobs that run in this worker now are in the queue as well.
func (w *Workers) Queued() int { return int(w.running.Load() - w.begun.Load()) }

// Ahead is how many jobs of a lane this worker has pulled and not begun.
func (w *Workers) Ahead(lane jobs.Lane) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.pullers[lane]; f != nil {
		return len(f.out)
	}
	return 0
}

// slot runs one job after the other.
func (w *Workers) slot(ctx, pull context.Context, urgentOnly bool) {
	for {
		h, ok := w.next(pull, urgentOnly)
		if !ok {
			return
		}
		if pull.Err() != nil {
			w.putBack(ctx, h)
			return
		}
		w.handle(ctx, pull, h)
		w.turns.Add(1)
	}
}

// next takes a message from the most urgent lane that has one, and waits when none has.
func (w *Workers) next(pull context.Context, urgentOnly bool) (*delivery, bool) {
	if pull.Err() != nil {
		return nil, false
	}
	if h, ok, there := w.atHand(urgentOnly); there {
		return h, ok
	}
	// A channel that is nil never delivers.
	var normal, bulk, newNormal, newBulk <-chan *delivery
	if !urgentOnly {
		normal, bulk = w.pullers[jobs.LaneNormal].out, w.pullers[jobs.LaneBulk].out
		newNormal, newBulk = w.offers[jobs.LaneNormal], w.offers[jobs.LaneBulk]
	}
	var h *delivery
	var ok bool
	select {
	case <-pull.Done():
		return nil, false
	case h, ok = <-w.pullers[jobs.LaneUrgent].out:
	case h, ok = <-normal:
	case h, ok = <-bulk:
	case h = <-w.offers[jobs.LaneUrgent]:
	case h = <-newNormal:
	case h = <-newBulk:
	}
	if h != nil && h.opened != nil {
		return h, true
	}
	if ok {
		h.puller.took()
	}
	return h, ok
}

// atHand returns what a lane has, in the order of the turns, without waiting for it.
func (w *Workers) atHand(urgentOnly bool) (h *delivery, ok, there bool) {
	for _, lane := range w.rota.order(urgentOnly) {
		select {
		case h, ok := <-w.pullers[lane].out:
			if ok {
				w.pullers[lane].took()
			}
			return h, ok, true
		default:
		}
		select {
		case h := <-w.offers[lane]:
			return h, true, true
		default:
		}
	}
	return nil, false, false
}

// handle runs one job and settles its message.
func (w *Workers) handle(ctx, pull context.Context, h *delivery) {
	w.running.Add(1)
	defer w.running.Add(-1)
	if h.opened != nil {
		w.begin(ctx, pull, h)
		return
	}
	log := w.Logger.Named("workers").With(zap.Uint64("job_seq", h.meta.Sequence.Stream))
	job, err := decodeJob(h.Data())
	var verdict jobs.Settlement
	if err != nil {
		err = w.deadLetter(ctx, h, err)
		verdict.Done = err == nil
	} else {
		log = log.With(zap.String("job_id", job.ID))
		job.Message = messageOf(h.Headers(), h.meta.Sequence.Stream)
		// A job that cannot be opened here runs all the same: its attempt says so and is retried,
		// maybe to a worker that has the key.
		if job.Params, err = job.Params.Open(w.Sealer); err != nil {
			w.failures.Warn(log, "a secret of the job cannot be opened here", err)
		}
		verdict, err = w.Runner.Run(ctx, jobs.Delivery{Job: job, Count: h.meta.NumDelivered})
	}
	if err != nil {
		verdict = jobs.Settlement{Delay: redeliverDelay(h.meta.NumDelivered)}
		w.failures.Warn(log, "the job is not settled; it is redelivered", err, zap.Duration("delay", verdict.Delay))
	}
	h.drop()
	if verdict.Leave {
		return
	}
	err = settle(ctx, w.Conn.nc, h.Msg, verdict)
	if err != nil {
		w.failures.Warn(log, "the server did not confirm the settlement; the job is redelivered", err)
	}
	w.drain.job(ctx, pull, verdict, err == nil)
}

// giveBack returns what was pulled and not begun. Once the server does not answer, the
// rest is left to its AckWait.
func (w *Workers) giveBack(ctx context.Context) {
	answers := true
	for _, f := range w.pullers {
		for h := range f.out {
			if answers {
				answers = w.putBack(ctx, h)
			} else {
				w.drain.back(false)
			}
			h.drop()
		}
	}
}

// putBack returns one job that was not begun, or its event, and reports whether the server confirmed it.
func (w *Workers) putBack(ctx context.Context, h *delivery) bool {
	if h.opened != nil {
		h.opened.Recorded()
	}
	h.drop()
	err := settle(ctx, w.Conn.nc, h.Msg, jobs.Settlement{})
	if err != nil {
		w.Logger.Named("workers").Debug("giving a job back", zap.Error(err))
	}
	w.drain.back(err == nil)
	return err == nil
}

// Drained is what became of the jobs that a worker had when it began to stop.
type Drained struct {
	Finished int // They came to their outcome.
	PutBack  int // Messages that are in their queue again: of jobs not begun, due for another attempt, or still under way when they came.
	CutOff   int // Their calls were cut off, and may have taken effect.
	// Unconfirmed were given back to a server that did not confirm it; it redelivers them.
	Unconfirmed int
}

// drain counts what becomes of jobs while a worker stops.
type drain struct{ finished, putBack, cutOff, unconfirmed atomic.Int64 }

// job counts a job that was run. pull has ended when the worker stops, and ctx when it cuts off what still runs.
func (d *drain) job(ctx, pull context.Context, v jobs.Settlement, confirmed bool) {
	switch {
	case pull.Err() == nil || v.Leave:
	case v.Done && !v.Queued:
		d.finished.Add(1)
	case ctx.Err() != nil:
		d.cutOff.Add(1)
	default:
		d.back(confirmed)
	}
}

// back counts a job that was given back.
func (d *drain) back(confirmed bool) {
	if confirmed {
		d.putBack.Add(1)
	} else {
		d.unconfirmed.Add(1)
	}
}

// Drained is what became of the jobs so far, since the worker began to stop. Those that run still count as cut off.
func (w *Workers) Drained() Drained {
	d := &w.drain
	return Drained{
		Finished: int(d.finished.Load()), PutBack: int(d.putBack.Load()), CutOff: int(d.cutOff.Load()) + w.Running(),
		Unconfirmed: int(d.unconfirmed.Load()),
	}
}

// Turns of less urgent lanes although a more urgent one has work, so that steady urgent work does not
// starve them: one turn in 8 looks at normal first, one in 16 at bulk first.
const (
	normalTurn = 8
	bulkTurn   = 16
)

// mostOwed bounds the turns that slots for urgent jobs owe to the other lanes.
const mostOwed = 2 * bulkTurn

// rota is the order in which slots look at the lanes.
type rota struct {
	mu    sync.Mutex // Guards what follows.
	turns uint64
	owed  []jobs.Lane // Lanes whose turns fell on slots that run urgent jobs only.
}

// order is the order of the lanes on the next turn.
func (r *rota) order(urgentOnly bool) []jobs.Lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turns++
	lanes := order(r.turns)
	first := lanes[0]
	switch {
	case urgentOnly:
		if first != jobs.LaneUrgent && len(r.owed) < mostOwed {
			r.owed = append(r.owed, first)
		}
		return []jobs.Lane{jobs.LaneUrgent}
	case first == jobs.LaneUrgent && len(r.owed) > 0:
		first, r.owed = r.owed[0], r.owed[1:]
		return lanesFrom(first)
	}
	return lanes
}

// order is the order of the lanes on a turn.
func order(turn uint64) []jobs.Lane {
	switch {
	case turn%bulkTurn == normalTurn/2: // Between two turns of normal.
		return lanesFrom(jobs.LaneBulk)
	case turn%normalTurn == 0:
		return lanesFrom(jobs.LaneNormal)
	}
	return jobs.Lanes()
}

// lanesFrom are the lanes, this one first and then the most urgent ones.
func lanesFrom(first jobs.Lane) []jobs.Lane {
	lanes := []jobs.Lane{first}
	for _, lane := range jobs.Lanes() {
		if lane != first {
			lanes = append(lanes, lane)
		}
	}
	return lanes
}
