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

// offer hands an event to a slot that waits for work, and reports whether there is one: then this worker has no job that it could run
// before. The slot runs the event's job and settles the event.
func (w *Workers) offer(h *delivery, o jobs.Opened) bool {
	w.mu.Lock()
	slots := w.offers[o.Job.Lane]
	w.mu.Unlock()
	h.drop() // The slot may have settled it before this returns.
	select {
	case slots <- &delivery{Msg: h.Msg, puller: h.puller, meta: h.meta, opened: &o}:
		return true
	default: // Also before the slots are there.
		h.hold()
		return false
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
