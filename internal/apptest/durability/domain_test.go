package durability_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/apptest"
	"rekey/internal/bus"
	"rekey/internal/doctor"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
)

// startHub runs a server whose JetStream is the domain hub, and that takes leaf nodes on a port. Its user "worker" may do
// what a worker needs, and "all" everything. It looks at permissions after it has taken the domain out of a subject.
func startHub(t *testing.T) (hub *server.Server, leaves int) {
	t.Helper()
	leaves = apptest.FreePorts(t, 1)[0]
	return apptest.StartNATS(t, func(o *server.Options) {
		o.ServerName, o.JetStreamDomain, o.Users = "hub", "hub", domainUsers("")
		o.LeafNode.Host, o.LeafNode.Port = "127.0.0.1", leaves
	}), leaves
}

// domainUsers are the users of a server that sees the domain in subjects; "" is none.
func domainUsers(domain string) []*server.User {
	p := apptest.Needed()
	p.Publish.Allow = append(p.Publish.Allow, "$JS.API.INFO") // For the doctor alone.
	for i, subject := range p.Publish.Allow {
		p.Publish.Allow[i] = bus.InDomain(domain, subject)
	}
	return []*server.User{{Username: "worker", Password: "secret-of-worker", Permissions: p}, {Username: "all", Password: "secret-of-all"}}
}

// startLeaf runs a leaf node of a hub.
func startLeaf(t *testing.T, leaves int, change func(*server.Options)) *server.Server {
	t.Helper()
	leaf := apptest.StartNATS(t, func(o *server.Options) {
		o.ServerName, o.Users = "leaf", domainUsers("hub")
		remote := url.URL{Scheme: "nats", Host: apptest.Localhost(leaves), User: url.UserPassword("all", "secret-of-all")}
		o.LeafNode.Remotes = []*server.RemoteLeafOpts{{URLs: []*url.URL{&remote}}}
		change(o)
	})
	apptest.Eventually(t, "the leaf node to be connected", func() bool { return leaf.NumLeafNodes() == 1 })
	return leaf
}

// TestJetStreamDomain: a worker that has exactly the permissions that the doctor asks for does everything in the domain of
// its configuration, on that server and on its leaf nodes.
func TestJetStreamDomain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		leaf  bool
		leafs func(*server.Options)
	}{
		{name: "the server itself"},
		{name: "a leaf node without JetStream", leaf: true, leafs: func(o *server.Options) { o.JetStream = false }},
		{name: "a leaf node with a domain of its own", leaf: true, leafs: func(o *server.Options) { o.JetStreamDomain = "leaf" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv, leaves := startHub(t)
			hub := srv.ClientURL()
			if tt.leaf {
				srv = startLeaf(t, leaves, tt.leafs)
			}
			r, s := apptest.StandInRig(t)
			r.Cfg.NATS.URL, r.Cfg.NATS.User, r.Cfg.NATS.Password.Env = srv.ClientURL(), "worker", "NATS_PASSWORD"
			r.Cfg.NATS.Domain, r.Env["NATS_PASSWORD"] = "hub", "secret-of-worker"
			w := r.Launch(t)
			w.AwaitReady()
			w.Connected(t, nats.UserInfo("all", "secret-of-all"))
			var err error
			if w.Js, err = jetstream.NewWithDomain(w.Nc, "hub"); err != nil {
				t.Fatal(err)
			}
			s.Script(apptest.HexID(2), apptest.Problem(404, "RESOURCE_NOT_FOUND"))
			w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
			w.Publish("incident", apptest.X509Disable(apptest.HexID(2)).String())
			w.Publish("rotation", `{"kind": "nonsense"}`)
			w.Results(2)
			w.Letters(2)
			if got := w.Records(apptest.HexID(1)); len(got) != 1 || got[0].Outcome != jobs.OutcomeRevoked {
				t.Errorf("the commands see %+v, want one job that is revoked", got)
			}
			mustOperate(t, w)
			found := apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{url: %q, user: worker, password_env: NATS_PASSWORD, domain: hub}", srv.ClientURL()), ""))
			apptest.MustFind(t, found, "nats", "permissions", doctor.OK, `all that a worker needs`)
			apptest.MustFind(t, found, "nats", "jetstream", doctor.OK, `^on, in the domain hub;`)
			apptest.MustFind(t, found, "streams", "existing", doctor.OK, `REKEY_EVENTS.*REKEY_LEDGER`)
			w.Stop()
			apptest.MustRefuseNothing(t, r)
			direct := apptest.DialNATS(t, hub, nats.UserInfo("all", "secret-of-all"))
			if _, err := direct.Js.Stream(t.Context(), "REKEY_RESULTS"); err != nil {
				t.Errorf("the stream is not on the hub: %v", err)
			}
		})
	}
}

// mustOperate checks that an operator sees and does everything in the domain.
func mustOperate(t *testing.T, w *apptest.Worker) {
	t.Helper()
	r := *w.Rig
	cfg := *r.Cfg
	cfg.NATS.User, cfg.NATS.Password.Env = "all", "NATS_PASSWORD_OF_ALL"
	r.Env["NATS_PASSWORD_OF_ALL"] = "secret-of-all"
	client, err := fleet.Dial(t.Context(), &cfg, w.NATS, r.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	request := map[string]any{"kind": "x509.disable", "account": apptest.Security, "params": map[string]any{"project_id": apptest.HexID(3)}}
	if err := client.CheckRequest(t.Context(), request); err != nil {
		t.Errorf("the fleet's rules: %v", err)
	}
	done, err := client.Submit(t.Context(), "rekey/operator", "3", request)
	if err != nil {
		t.Fatal(err)
	}
	record, err := client.Await(t.Context(), fleet.Wait{JobID: done.JobID, Stored: true})
	if err != nil || record.Outcome != jobs.OutcomeRevoked {
		t.Errorf("the job that is waited for: %s, %v", record.Outcome, err)
	}
	if fleet, err := client.Fleet(t.Context()); err != nil || fleet.Attendance != bus.Attended {
		t.Errorf("the fleet: %+v, %v, want a worker", fleet, err)
	}
	op := jobs.Operation{By: "ops", At: time.Now(), Reason: "tried again"}
	if replayed, err := client.Replay(t.Context(), 1, op); err != nil || replayed.JobID == "" && replayed.EventSeq == 0 {
		t.Errorf("the replay of a dead letter: %+v, %v", replayed, err)
	}
}

// TestDomainThatIsNot: the doctor and the worker name the setting where no JetStream answers.
func TestDomainThatIsNot(t *testing.T) {
	t.Parallel()
	srv, _ := startHub(t)
	r, _ := apptest.StandInRig(t)
	r.Env["NATS_PASSWORD"] = "secret-of-all"
	found := apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{url: %q, user: all, password_env: NATS_PASSWORD, domain: hup}", srv.ClientURL()), ""))
	apptest.MustFind(t, found, "nats", "jetstream", doctor.Failed, `no JetStream answers in the domain hup → .*nats\.domain`)
	r.Cfg.NATS.URL, r.Cfg.NATS.User, r.Cfg.NATS.Password.Env, r.Cfg.NATS.Domain = srv.ClientURL(), "all", "NATS_PASSWORD", "hup"
	r.Launch(t)
	apptest.Eventually(t, "the worker to name the domain", func() bool {
		for _, entry := range r.Logs.FilterMessage(notReady).All() {
			if strings.Contains(fmt.Sprint(entry.ContextMap()["error"]), "no JetStream answers in the domain hup (nats.domain)") {
				return true
			}
		}
		return false
	})
}
