package stores

import (
	"testing"

	"go.uber.org/zap"

	"rekey/internal/bus"
	"rekey/internal/natsserver"
)

// connect returns a connection to a server of its own.
func connect(t *testing.T) *bus.Conn {
	t.Helper()
	server, err := natsserver.Start(natsserver.Config{StoreDir: t.TempDir(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	conn, err := bus.Connect(bus.ConnectConfig{Embedded: server, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}
