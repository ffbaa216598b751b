package app

import (
	"go.uber.org/zap"

	"rekey/internal/api"
	"rekey/internal/config"
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

// serveAPI lets the API answer from the fleet, by a configuration.
func (w *worker) serveAPI(c *config.Config, s storage) {
	if w.api == nil {
		return
	}
	w.api.Use(c.API)
	w.api.Serve(fleet.Own(w.conn, s.ledger, c, w.keys, w.Known))
}

// apiField says where the API is, where there is one.
func apiField(address string) zap.Field {
	if address == "" {
		return zap.Skip()
	}
	return zap.String("api", address)
}
