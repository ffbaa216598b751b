package app_test

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// localhost is an address of this machine.
func localhost(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePorts are ports of this machine that nobody listens on, all different.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	// All stay open until the last has been found, so that they differ.
	var open []*net.TCPListener
	var ports []int
	for range n {
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, listener)
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	for _, listener := range open {
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return ports
}

// cluster is a NATS cluster of three processes with stores of their own.
type cluster struct {
	t        *testing.T
	settings []serverSettings
	running  map[string]*child // By name.
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	const servers = 3
	ports := freePorts(t, 2*servers)
	c := &cluster{t: t, running: map[string]*child{}}
	for i := range servers {
		name := "n" + strconv.Itoa(i+1)
		c.settings = append(c.settings, serverSettings{
			Name: name, StoreDir: filepath.Join(t.TempDir(), name), Client: ports[i], Cluster: ports[servers+i], Routes: ports[servers:],
		})
		c.start(name)
	}
	return c
}

// url lists all servers.
func (c *cluster) url() string {
	var list []string
	for _, s := range c.settings {
		list = append(list, "nats://"+localhost(s.Client))
	}
	return strings.Join(list, ",")
}

func (c *cluster) start(name string) {
	c.t.Helper()
	for _, s := range c.settings {
		if s.Name == name {
			c.running[name] = startChild(c.t, serverToKill, s)
		}
	}
}

// clusterAnswer bounds one question to a cluster: while a stream has no leader nobody answers.
const clusterAnswer = 2 * time.Second

// info is what the cluster says of a stream, nil when it says nothing.
func (s *stranger) info(stream string) *jetstream.StreamInfo {
	ctx, cancel := context.WithTimeout(s.t.Context(), clusterAnswer)
	defer cancel()
	st, err := s.js.Stream(ctx, stream)
	if err != nil {
		return nil
	}
	return st.CachedInfo()
}

// leader waits until a stream has a leader and returns its name.
func (s *stranger) leader(stream string) string {
	s.t.Helper()
	var name string
	eventually(s.t, "a leader of "+stream, func() bool {
		if info := s.info(stream); info != nil && info.Cluster != nil {
			name = info.Cluster.Leader
		}
		return name != ""
	})
	return name
}

// complete reports whether every replica of a stream is there and up to date.
func (s *stranger) complete(stream string) bool {
	info := s.info(stream)
	if info == nil || info.Cluster == nil {
		return false
	}
	current := 0
	for _, peer := range info.Cluster.Replicas {
		if peer.Current && !peer.Offline {
			current++
		}
	}
	return current == 2
}

// awaitEnds waits until n jobs have results and the queue is empty, for longer than others wait: what
// failed a few times comes again after half a minute. It tells what is left when that is not enough.
func (w *worker) awaitEnds(n int) {
	w.t.Helper()
	const long = 4 * patience
	deadline := time.Now().Add(long)
	for {
		results, jobs := w.info("REKEY_RESULTS"), w.info("REKEY_JOBS")
		if results != nil && jobs != nil && int(results.State.Msgs) >= n && jobs.State.Msgs == 0 {
			return
		}
		if time.Now().After(deadline) {
			break
		}
		<-time.After(200 * time.Millisecond)
	}
	for _, r := range w.records("") {
		if !r.Done() {
			w.t.Logf("not done: %s", encoded(r))
		}
	}
	for _, msg := range w.messages("REKEY_JOBS") {
		w.t.Logf("in the queue: %d %s", msg.Sequence, msg.Data)
	}
	w.t.Fatalf("%d results are not there after %s, having %d", n, long, w.count("REKEY_RESULTS"))
}

// TestClusterLosesALeaderAndAWorker kills the leader of the stream of jobs and a worker, one
// after the other, while jobs run, and starts both again.
func TestClusterLosesALeaderAndAWorker(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	rig, atlas := standInRig(t)
	rig.cfg.NATS.URL, rig.cfg.NATS.Replicas, rig.cfg.Atlas.Timeout = nodes.url(), 3, crashTimeout
	atlas.script("/userSecurity", reply{delay: 5 * time.Millisecond}.always())
	w := (&worker{stranger: &stranger{t: t}, rig: rig}).connected(t, nats.RetryOnFailedConnect(true))
	eventually(t, "the cluster", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), clusterAnswer)
		defer cancel()
		_, err := w.js.CreateStream(ctx, jetstream.StreamConfig{Name: "PROBE", Replicas: 3})
		return err == nil
	})
	first, _ := rig.startToKill(t)
	second, _ := rig.beside("worker-2").startToKill(t)
	n := sized(200, 2000)
	stop := w.flow(time.Duration(sized(20, 1)) * time.Millisecond)
	reached := func(part int) func() bool {
		return func() bool {
			info := w.info("REKEY_RESULTS")
			return info != nil && int(info.State.Msgs) >= n*part/5
		}
	}

	eventually(t, "a fifth of the results", reached(1))
	leader := w.leader("REKEY_JOBS")
	nodes.running[leader].kill()
	eventually(t, "two fifths of the results", reached(2))
	first.kill()
	eventually(t, "three fifths of the results", reached(3))
	nodes.start(leader)
	eventually(t, "the lost server to be back", func() bool { return w.complete("REKEY_JOBS") && w.complete("REKEY_RESULTS") })
	first, _ = rig.beside("worker-3").startToKill(t)
	leader = w.leader("KV_REKEY_LEDGER")
	nodes.running[leader].kill()
	eventually(t, "four fifths of the results", reached(4))
	nodes.start(leader)
	eventually(t, "all results", reached(5))

	n = stop()
	w.awaitEnds(n)
	repeated := w.tally(t, atlas, n)
	t.Logf("%d jobs, %d calls were repeated because their answer was lost", n, repeated)
	first.kill()
	second.kill()
}
