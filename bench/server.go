package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// serverStart bounds the start of a NATS server.
const serverStart = 30 * time.Second

// startServer starts a NATS server in this process with the durability of the worker's own: every write is synced. It
// listens on a free port of the loopback interface.
func startServer(store string) (*server.Server, error) { return startSyncing(store, true) }

// startSyncing is startServer with the choice whether every write is synced: what only fills a store need not wait for that.
func startSyncing(store string, sync bool) (*server.Server, error) {
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: store, SyncAlways: sync, DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, fmt.Errorf("creating a NATS server: %w", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(serverStart) {
		stopServer(srv)
		return nil, errors.New("the NATS server takes no connections")
	}
	return srv, nil
}

func stopServer(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}
