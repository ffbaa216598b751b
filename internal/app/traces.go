package app

import (
	"cmp"
	"context"
	"strconv"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/quiet"
	"rekey/internal/tracing"
)

// startTracing makes the tracer, as the environment says.
func (w *worker) startTracing(ctx context.Context) error {
	var failures quiet.Failures
	tracer, err := tracing.New(ctx, tracing.Config{
		LookupEnv: w.LookupEnv, Worker: w.Name, Version: w.Version,
		OnError: func(err error) { failures.Warn(w.Logger.Named("tracing"), "sending traces", err) },
	})
	if err != nil {
		return err
	}
	w.tracer = tracer
	if tracer.On() {
		w.stack.push("traces", stopGrace, tracer.Stop)
	}
	return nil
}

// Where tracing is on, each of the parts below is put around the one that does the work.

func (w *worker) tracedIntake(d bus.Acceptor) bus.Acceptor {
	if !w.tracer.On() {
		return d
	}
	return tracedIntake{d, w.tracer}
}

func (w *worker) tracedRevoker(r jobs.Revoker) jobs.Revoker {
	if !w.tracer.On() {
		return r
	}
	return tracedRevoker{r, w.tracer}
}

func (w *worker) tracedAnnouncer(a jobs.Announcer) jobs.Announcer {
	if !w.tracer.On() {
		return a
	}
	return tracedAnnouncer{a, w.tracer}
}

// tracedIntake makes a span for the intake of an event, below the one that the event names. The
// event's jobs belong to it.
type tracedIntake struct {
	bus.Acceptor
	tracer *tracing.Tracer
}

// Accept implements bus.Acceptor.
func (d tracedIntake) Accept(ctx context.Context, e jobs.Event) (jobs.Accepted, error) {
	ctx, span := d.tracer.Start(ctx, "intake", e.Trace, tracing.Consumer, tracing.Attributes{"event_id": e.ID, "class": e.Class})
	e.Trace = cmp.Or(tracing.Parent(ctx), e.Trace)
	accepted, err := d.Acceptor.Accept(ctx, e)
	span.Set("result", string(accepted.Result))
	span.Set("job_id", accepted.JobID)
	span.End(problem(err))
	return accepted, err
}

// tracedRevoker makes a span for each attempt.
type tracedRevoker struct {
	jobs.Revoker
	tracer *tracing.Tracer
}

// Revoke implements jobs.Revoker.
func (r tracedRevoker) Revoke(ctx context.Context, j jobs.Job) (jobs.Answer, error) {
	ctx, span := r.tracer.Start(ctx, "attempt", j.Trace, tracing.Internal, tracing.Attributes{
		"job_id": j.ID, "kind": string(j.Kind), "target": j.Target(), "account": j.Account, "lane": string(j.Lane),
	})
	answer, err := r.Revoker.Revoke(ctx, j)
	span.End(problem(err))
	return answer, err
}

// tracedAnnouncer makes a span for a job, from its acceptance to its outcome, and one for the
// publication of its result.
type tracedAnnouncer struct {
	jobs.Announcer
	tracer *tracing.Tracer
}

// Announce implements jobs.Announcer.
func (a tracedAnnouncer) Announce(ctx context.Context, j jobs.Job, r jobs.Record, maybeSent bool) error {
	attributes := tracing.Attributes{
		"job_id": r.JobID, "kind": string(r.Kind), "target": r.Target, "outcome": string(r.Outcome), "proof": string(r.Verdict()),
		"attempts": strconv.Itoa(r.AttemptCount), "policy": r.Policy,
	}
	if !maybeSent {
		a.tracer.Since(r.AcceptedAt, "job", r.Trace, attributes)
	}
	ctx, span := a.tracer.Start(ctx, "result", r.Trace, tracing.Producer, attributes)
	r.Trace = cmp.Or(tracing.Parent(ctx), r.Trace)
	err := a.Announcer.Announce(ctx, j, r, maybeSent)
	span.End(problem(err))
	return err
}

func problem(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
