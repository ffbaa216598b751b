package app

import (
	"go.uber.org/zap"

	"rekey/internal/access"
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
	if w.pages, err = w.startConsole(&access.Sessions{Clients: server.Clients, Marker: w.keys, Now: w.conn.Clock().Now}); err != nil {
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

// startConsole returns a console that answers 503 until serveAPI. Without sessions it is read-only.
func (w *worker) startConsole(sessions *access.Sessions) (*console.Console, error) {
	c, err := console.New(console.Config{Version: w.Version, Access: sessions, Lookup: w.LookupEnv, Logger: w.Logger})
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
