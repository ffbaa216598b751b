package durability_test

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/apptest"
)

// cluster is a NATS cluster of three processes with stores of their own.
type cluster struct {
	t        *testing.T
	settings []apptest.ServerSettings
	running  map[string]*apptest.Child // By name.
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	const servers = 3
	ports := apptest.FreePorts(t, 2*servers)
	c := &cluster{t: t, running: map[string]*apptest.Child{}}
	for i := range servers {
		name := "n" + strconv.Itoa(i+1)
		c.settings = append(c.settings, apptest.ServerSettings{
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
		list = append(list, "nats://"+apptest.Localhost(s.Client))
	}
	return strings.Join(list, ",")
}

func (c *cluster) start(name string) {
	c.t.Helper()
	for _, s := range c.settings {
		if s.Name == name {
			c.running[name] = apptest.StartChild(c.t, apptest.ServerToKill, s)
		}
	}
}

// TestClusterLosesALeaderAndAWorker kills the leader of the stream of jobs and a worker, one
// after the other, while jobs run, and starts both again. It takes up to 30 s: three servers elect leaders for some twenty streams and
// buckets, twice, and NATS waits several seconds before it takes a server for lost.
func TestClusterLosesALeaderAndAWorker(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.NATS.URL, rig.Cfg.NATS.Replicas, rig.Cfg.Atlas.Timeout = nodes.url(), 3, apptest.CrashTimeout
	atlas.Script("/userSecurity", apptest.Reply{Delay: 5 * time.Millisecond}.Always())
	w := (&apptest.Worker{Stranger: &apptest.Stranger{T: t}, Rig: rig}).Connected(t, nats.RetryOnFailedConnect(true))
	apptest.Eventually(t, "the cluster", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), apptest.ClusterAnswer)
		defer cancel()
		_, err := w.Js.CreateStream(ctx, jetstream.StreamConfig{Name: "PROBE", Replicas: 3})
		return err == nil
	})
	first, _ := rig.StartToKill(t)
	second, _ := rig.Beside("worker-2").StartToKill(t)
	n := apptest.Sized(200, 2000)
	stop := w.Flow(time.Duration(apptest.Sized(20, 1)) * time.Millisecond)
	reached := func(part int) func() bool {
		return func() bool {
			info := w.Info("REKEY_RESULTS")
			return info != nil && int(info.State.Msgs) >= n*part/5
		}
	}

	apptest.Eventually(t, "a fifth of the results", reached(1))
	leader := w.Leader("REKEY_JOBS")
	nodes.running[leader].Kill()
	apptest.Eventually(t, "two fifths of the results", reached(2))
	first.Kill()
	apptest.Eventually(t, "three fifths of the results", reached(3))
	nodes.start(leader)
	apptest.Eventually(t, "the lost server to be back", func() bool { return w.Complete("REKEY_JOBS") && w.Complete("REKEY_RESULTS") })
	first, _ = rig.Beside("worker-3").StartToKill(t)
	leader = w.Leader("KV_REKEY_LEDGER")
	nodes.running[leader].Kill()
	apptest.Eventually(t, "four fifths of the results", reached(4))
	nodes.start(leader)
	apptest.Eventually(t, "all results", reached(5))

	n = stop()
	w.AwaitEnds(n)
	repeated := w.Tally(t, atlas, n)
	t.Logf("%d jobs, %d calls were repeated because their answer was lost", n, repeated)
	first.Kill()
	second.Kill()
}
