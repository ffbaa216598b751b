package apptest

import (
	"net"
	"strconv"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// StartNATS runs an external NATS server with JetStream until the test is over. change, when
// not nil, changes its options.
func StartNATS(t *testing.T, change func(*server.Options)) *server.Server {
	t.Helper()
	opts := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
	}
	if change != nil {
		change(opts)
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	t.Cleanup(func() { StopNATS(srv) })
	if !srv.ReadyForConnections(Patience) {
		t.Fatal("the NATS server does not start")
	}
	return srv
}

// StopNATS stops a server and waits for its end.
func StopNATS(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}

// At makes the server listen there, with its files in dir.
func At(t *testing.T, address, dir string) func(*server.Options) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *server.Options) { o.Host, o.Port, o.StoreDir = host, number, dir }
}

// Connected connects a stranger to the external server of the worker.
func (w *Worker) Connected(t *testing.T, opts ...nats.Option) *Worker {
	t.Helper()
	w.Stranger = DialNATS(t, w.Rig.Cfg.NATS.URL, opts...)
	return w
}
