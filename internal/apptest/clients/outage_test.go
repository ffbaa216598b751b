package clients_test

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"rekey/internal/apptest"
)

// TestWithoutNATS: nothing is half done while NATS is away, and the client learns when to ask again.
func TestWithoutNATS(t *testing.T) {
	t.Parallel()
	address, dir := apptest.FreeAddress(t), t.TempDir()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.NATS.URL = "nats://" + address
	withAPI(t, rig).Cfg.API.Listen = apptest.FreeAddress(t)
	w := rig.Launch(t)
	w.API = rig.Cfg.API.Listen
	request := apptest.X509Disable(apptest.HexID(1))
	ask := func() (answer, error) {
		return as(w, soar).attempt("POST", "/v1/jobs", request, "Idempotency-Key", "1")
	}
	refused := func(what string) {
		t.Helper()
		apptest.Eventually(t, what, func() bool { _, err := ask(); return err == nil })
		a, err := ask()
		if err != nil || a.status != 503 || a.get("code") != "unavailable" || a.header.Get("Retry-After") != "5" || a.get("event_id") != "1" {
			t.Fatalf("%s: %v %d %s", what, err, a.status, a.text)
		}
	}
	refused("before NATS has ever been there")
	as(w, "mallory").do("POST", "/v1/jobs", request).must(t, "a stranger", 401)
	server := apptest.StartNATS(t, apptest.At(t, address, dir))
	w.AwaitReady()
	apptest.StopNATS(server)
	refused("after NATS has gone")
	if a := as(w, soar).do("POST", "/v1/events/siem", apptest.Request{}, "Idempotency-Key", "2").must(t, "an event", 503); a.get("event_id") != "2" {
		t.Errorf("the answer to an event does not name it: %s", a.text)
	}
	if a := as(w, soar).do("POST", "/v1/jobs", request).must(t, "a request without a key", 503); a.body["event_id"] != nil {
		t.Errorf("a request without a key was given one: %s", a.text)
	}
	for _, path := range []string{"/v1/jobs", "/v1/dead-letters", "/v1/status"} {
		as(w, viewer).do("GET", path, nil).must(t, path, 503)
	}
	apptest.StartNATS(t, apptest.At(t, address, dir))
	var id string
	apptest.Eventually(t, "the request to be stored", func() bool {
		a, err := ask()
		id = a.get("job_id")
		return err == nil && a.status == 202
	})
	as(w, soar).outcome(id)
	w.Connected(t).DidOnce(t, atlas, apptest.HexID(1))
	if n := w.Count("REKEY_EVENTS"); n != 1 {
		t.Errorf("%d events are stored, want 1", n)
	}
	w.Stop() // Before NATS.
}

// wire is the way to a NATS server. While it is muted, what the server says is lost.
type wire struct {
	to    string
	armed atomic.Bool // The next event mutes it.
	muted atomic.Bool
	conns sync.Map
}

func startWire(t *testing.T, to string) (*wire, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &wire{to: to}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { l.carry(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		l.cut()
		running.Wait()
	})
	return l, listener.Addr().String()
}

func (l *wire) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer server.Close()
	l.conns.Store(client, server)
	var up sync.WaitGroup
	up.Go(func() {
		pass(client, server, func(data []byte) bool {
			if bytes.Contains(data, []byte("PUB rekey.v1.event.operator")) && l.armed.CompareAndSwap(true, false) {
				l.muted.Store(true)
			}
			return true
		})
	})
	pass(server, client, func([]byte) bool { return !l.muted.Load() })
	up.Wait()
}

// pass hands on what may pass, until one of the two ends.
func pass(from, to net.Conn, may func([]byte) bool) {
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if may(buffer[:n]) {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
}

// cut ends all connections.
func (l *wire) cut() {
	l.conns.Range(func(client, server any) bool {
		client.(net.Conn).Close()
		server.(net.Conn).Close()
		return true
	})
}

// TestAcknowledgementIsLost: NATS goes away between the request and its acknowledgement. The client learns that it is not known
// whether the request is stored, and the same once more makes no second job.
func TestAcknowledgementIsLost(t *testing.T) {
	t.Parallel()
	server := apptest.StartNATS(t, nil)
	line, address := startWire(t, strings.TrimPrefix(server.ClientURL(), "nats://"))
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.NATS.URL = "nats://" + address
	w := withAPI(t, rig).Launch(t)
	w.AwaitReady()
	request := apptest.X509Disable(apptest.HexID(1))
	line.armed.Store(true)
	a := as(w, soar).do("POST", "/v1/jobs", request).must(t, "an acknowledgement that is lost", 503)
	key := a.get("event_id")
	if key == "" || !strings.Contains(a.get("detail"), key) || a.header.Get("Retry-After") == "" {
		t.Errorf("an acknowledgement that is lost: %s, want the event's id", a.text)
	}
	line.muted.Store(false)
	line.cut()
	var id string
	apptest.Eventually(t, "the same request to be acknowledged", func() bool {
		a, err := as(w, soar).attempt("POST", "/v1/jobs", request, "Idempotency-Key", key)
		id = a.get("job_id")
		return err == nil && a.status == 202
	})
	as(w, soar).outcome(id)
	w.Stranger = apptest.DialNATS(t, server.ClientURL())
	w.Settled()
	w.DidOnce(t, atlas, apptest.HexID(1))
	w.Stop()
}
