package app

import (
	"net/http"

	"go.uber.org/zap"

	"rekey/internal/api"
	"rekey/internal/config"
	"rekey/internal/console"
	"rekey/internal/fleet"
)

// startAPI starts the HTTP API, which answers 503 until serveAPI.
func (w *worker) startAPI() error {
	if w.Config.API.Listen == "" {
		return nil
	}
	server, err := api.New(api.Config{API: w.Config.API, Lookup: w.LookupEnv, Recorder: w.metrics, Logger: w.Logger})
	if err != nil {
		return err
	}
	w.api = server
	if err := w.useDoors(w.Config); err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	w.stack.push("API server", httpGrace, server.Stop)
	w.background(partDoors, w.runDoors)
	return nil
}

// startConsole returns the console of http.listen, which answers 503 until serveAPI; nil where there is none.
func (w *worker) startConsole() (http.Handler, error) {
	if !w.Config.HTTP.ShowsConsole() {
		return nil, nil
	}
	var err error
	w.console, err = console.New(console.Config{Version: w.Version, Logger: w.Logger})
	return w.console, err
}

// serveAPI lets the API and the console answer from the fleet, by a configuration.
func (w *worker) serveAPI(c *config.Config, s storage) {
	client := fleet.Own(w.conn, s.ledger, c, w.keys, w.Known)
	if w.console != nil {
		w.console.Serve(client)
	}
	if w.api != nil {
		w.api.Use(c.API)
		w.api.Serve(client)
	}
}

// apiField says where the API is, where there is one.
func apiField(address string) zap.Field {
	if address == "" {
		return zap.Skip()
	}
	return zap.String("api", address)
}
