package bus

import (
	"context"
	"sync/atomic"

	"rekey/internal/jobs"
)

// Drained is what became of the jobs that a worker had when it began to stop.
type Drained struct {
	Finished int // They came to their outcome.
	PutBack  int // They are in their queue again: not begun, or due for another attempt.
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
	case v.Done:
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
