package app

import (
	"context"
	"errors"
	"net/http"

	"go.uber.org/zap"

	"rekey/internal/access"
	"rekey/internal/api"
	"rekey/internal/audit"
	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/console"
	"rekey/internal/fleet"
	"rekey/internal/httpserver"
	"rekey/internal/refused"
	"rekey/internal/stores"
)

// trail is what a worker keeps of refused requests until they are in the audit trail. It is empty where there is no HTTP API.
type trail struct {
	refusals *refused.Log
	ready    chan struct{} // Closed once the streams are there.
}

// open says that the streams are there.
func (t trail) open() {
	if t.ready != nil {
		close(t.ready)
	}
}

// startHTTP serves metrics and health and, on loopback, the console.
func (w *worker) startHTTP() error {
	if w.Config.HTTP.Listen == "" {
		return nil
	}
	var pages http.Handler
	if w.Config.HTTP.ShowsConsole() {
		shown, err := w.startConsole(nil)
		if err != nil {
			return err
		}
		pages = shown
	}
	server, err := httpserver.New(httpserver.Config{
		Pages: pages, Listen: w.Config.HTTP.Listen, Checks: w.ready, Gatherer: w.gatherer, Logger: w.Logger,
	})
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	w.http = server
	w.stack.push("HTTP server", httpGrace, server.Stop)
	for _, shown := range w.consoles {
		w.stack.push("console", httpGrace, shown.Stop)
	}
	return nil
}

// startAPI starts the HTTP API, which answers 503 until serveAPI.
func (w *worker) startAPI() error {
	if w.Config.API.Listen == "" {
		return nil
	}
	var err error
	w.trail.ready = make(chan struct{})
	if w.trail.refusals, err = refused.New(refused.Config{Worker: w.Name, Now: w.conn.Clock().Now, Logger: w.Logger}); err != nil {
		return err
	}
	w.background(partRefusals, w.keepRefusals) // It ends after the server, which counts until then.
	server, err := api.New(api.Config{API: w.Config.API, Lookup: w.LookupEnv, Recorder: w.metrics, Auditor: w.trail.refusals, Tracer: w.tracer, Logger: w.Logger})
	if err != nil {
		return err
	}
	w.api = server
	if err := w.useDoors(w.Config); err != nil {
		return err
	}
	if w.pages, err = w.startConsole(&access.Sessions{Clients: server.Clients, Marker: w.keys, Now: w.conn.Clock().Now, Ended: stores.NewSessions(w.conn)}); err != nil {
		return err
	}
	w.usePages(w.Config)
	if err := server.Start(); err != nil {
		return err
	}
	w.stack.push("API server", httpGrace, server.Stop)
	w.stack.push("console", httpGrace, w.pages.Stop)
	w.background(partDoors, w.runDoors)
	return nil
}

// keepRefusals writes refused requests to the audit trail, once there is one, in a chain of their own.
func (w *worker) keepRefusals(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-w.trail.ready:
	}
	chain, chains := audit.NewChain(w.Name+"/refused", w.conn.Clock().Now), stores.NewChains(w.conn, w.Logger)
	keeping, end := context.WithCancel(context.WithoutCancel(ctx)) // The end of the chain is noted after the last report.
	kept := make(chan error, 1)
	go func() { kept <- chains.Keep(keeping, chain) }()
	err := w.trail.refusals.Run(ctx, bus.NewTrail(w.conn, chain))
	end()
	return errors.Join(err, <-kept)
}

// startConsole returns a console that answers 503 until serveAPI. Without sessions it is read-only.
func (w *worker) startConsole(sessions *access.Sessions) (*console.Console, error) {
	c, err := console.New(console.Config{Version: w.Version, Access: sessions, Auditor: w.trail.refusals, Bodies: w.bodies, Lookup: w.LookupEnv, Logger: w.Logger})
	if err == nil {
		w.consoles = append(w.consoles, c)
	}
	return c, err
}

// usePages has the console at the API's listener, or not, as a configuration says.
func (w *worker) usePages(c *config.Config) {
	if c.API.Console.Off {
		w.api.Pages(nil)
		return
	}
	w.api.Pages(w.pages)
}

// serveAPI lets the API and the console answer from the fleet, by a configuration.
func (w *worker) serveAPI(c *config.Config, s storage) {
	client := fleet.Own(w.conn, s.ledger, c, w.keys, w.Known)
	for _, one := range w.consoles {
		one.Serve(client, c)
	}
	if w.api != nil {
		w.api.Use(c.API)
		w.api.Serve(client)
		w.usePages(c)
	}
}

// apiField says where the API is, where there is one.
func apiField(address string) zap.Field {
	if address == "" {
		return zap.Skip()
	}
	return zap.String("api", address)
}
