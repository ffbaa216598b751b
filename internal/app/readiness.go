package app

import (
	"context"
	"errors"

	"rekey/internal/readiness"
	"rekey/internal/search"
)

// startReadiness starts what knows, and tells other processes, whether the worker can do its work.
func (w *worker) startReadiness() error {
	const nats = "nats" // Without it, what was seen before is all that can be said of the others.
	var err error
	w.ready, err = readiness.New(
		readiness.Check{Name: nats, Func: func(context.Context) error { return w.conn.Ready() }},
		readiness.Check{Name: "permissions", Needs: nats, Func: func(context.Context) error { return w.forbidden.check() }},
		readiness.Check{Name: "streams", Needs: nats, Func: func(context.Context) error { return w.streamsReady() }},
		readiness.Check{Name: "storage", Needs: nats, Func: func(context.Context) error { return w.storage() }},
		readiness.Check{Name: "clock", Needs: nats, Func: func(context.Context) error { return w.conn.Clock().Check() }},
		readiness.Check{Name: "parts", Func: func(context.Context) error { return w.parts.check() }},
		readiness.Check{Name: "accounts", Func: w.accountsReady},
	)
	if err != nil {
		return err
	}
	w.stack.push("checks of readiness", httpGrace, w.ready.Stop)
	w.tells = &search.Self{Conn: w.conn, Worker: w.Name, Version: w.Version, Readiness: w.ready}
	w.background(partReadiness, w.tells.Run)
	return nil
}

// storage reports, as an error, that something cannot be stored.
func (w *worker) storage() error {
	if w.embedded != nil {
		if err := w.embedded.Ready(); err != nil {
			return err
		}
	}
	return w.conn.Capacity()
}

// errNoAccount says that the worker can do nothing of what it is asked for.
var errNoAccount = errors.New("no account is configured (atlas.accounts): every request will be refused")

// accountsReady reports, as an error, that there is no account, or which one the API refuses.
func (w *worker) accountsReady(ctx context.Context) error {
	if len(w.accounts()) == 0 {
		return errNoAccount
	}
	return w.atlas.CheckAccounts(ctx)
}

// streamsReady reports, as an error, what is wrong with the streams, buckets and consumers.
func (w *worker) streamsReady() error {
	if err := w.prepared.check(); err != nil {
		return err
	}
	return w.upkeep.Check()
}
