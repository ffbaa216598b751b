package bus

import (
	"cmp"
	"context"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
)

// queueAfter is how long a job that is run by its event may take before it is queued and the event settled. It is shorter than
// layout.AckWait, so that the event needs no signs of life, and than the age at which an event that is not settled is worth a word.
const queueAfter = 8 * time.Second

// How long an event waits for a slot. To queue its job costs three synced writes, and slots that become free many times a second are
// there sooner. Behind a long queue, or calls that hang, no event waits for long: its job cannot be seen meanwhile.
const (
	offerMost   = time.Second
	offerPause  = 100 * time.Millisecond // How long no slot may become free.
	offerBehind = 4                      // How many queued jobs for each slot may be there already.
)

// offer hands an event to a slot that is free, or soon will be, and reports whether there is one. The slot runs the event's job and settles
// the event.
func (w *Workers) offer(h *delivery, o jobs.Opened) bool {
	w.mu.Lock()
	slots, queued, stopping := w.offers[o.Job.Lane], w.pullers[o.Job.Lane], w.stopping
	w.mu.Unlock()
	if slots == nil { // No slots are there yet.
		return false
	}
	h.drop() // The slot may have settled it before this returns.
	event := &delivery{Msg: h.Msg, puller: h.puller, meta: h.meta, opened: &o}
	select {
	case slots <- event:
		return true
	default:
	}
	if queued.behind() <= offerBehind*w.Concurrency && w.awaitSlot(slots, event, stopping) {
		return true
	}
	h.hold()
	return false
}

// awaitSlot hands an event to the next slot that is free, as long as slots become free.
func (w *Workers) awaitSlot(slots chan<- *delivery, event *delivery, stopping <-chan struct{}) bool {
	most, pause := time.NewTimer(offerMost), time.NewTicker(offerPause)
	defer most.Stop()
	defer pause.Stop()
	for turns := w.turns.Load(); ; {
		select {
		case slots <- event:
			return true
		case <-pause.C:
			now := w.turns.Load()
			if now == turns {
				return false
			}
			turns = now
		case <-most.C:
			return false
		case <-stopping:
			return false
		}
	}
}

// begin runs the job of an event, and settles the event when the job is done, or queued.
func (w *Workers) begin(ctx, pull context.Context, h *delivery) {
	job := h.opened.Job
	log := w.Logger.Named("workers").With(zap.Uint64("event_seq", h.meta.Sequence.Stream), zap.String("job_id", job.ID))
	w.begun.Add(1)
	queued := make(chan bool, 1)
	slow := time.AfterFunc(cmp.Or(w.QueueAfter, queueAfter), func() { queued <- w.queueSlow(ctx, h) })
	verdict, err := w.Runner.Begin(ctx, *h.opened)
	settled := !slow.Stop() && <-queued
	if !settled {
		w.begun.Add(-1)
	}
	if err != nil {
		verdict = jobs.Settlement{Delay: redeliverDelay(h.meta.NumDelivered)}
		w.failures.Warn(log, "the event of the job is not settled; it is redelivered", err, zap.Duration("delay", verdict.Delay))
	}
	if verdict.Leave {
		return
	}
	err = nil
	if !settled {
		err = settle(ctx, w.Conn.nc, h.Msg, verdict)
	}
	if err != nil {
		w.failures.Warn(log, "the server did not confirm the settlement; the event is redelivered", err)
	}
	w.drain.job(ctx, pull, verdict, err == nil)
}

// queueSlow queues a job whose call is under way, and settles its event, and reports whether both are done. The message finds that the
// job runs, and looks again later: should this worker be lost, another one goes on by it.
func (w *Workers) queueSlow(ctx context.Context, h *delivery) bool {
	ctx = context.WithoutCancel(ctx)
	err := NewQueue(w.Conn).Enqueue(ctx, h.opened.Job)
	if err == nil {
		err = settle(ctx, w.Conn.nc, h.Msg, jobs.Settlement{Done: true})
	}
	if err == nil {
		w.begun.Add(-1)
	} else {
		w.Logger.Named("workers").Debug("queueing a job whose call takes long", zap.String("job_id", h.opened.Job.ID), zap.Error(err))
	}
	return err == nil
}
