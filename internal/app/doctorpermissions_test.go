package app_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"rekey/internal/doctor"
)

// needed are the permissions that the doctor asks for, as a server's.
func needed() *server.Permissions {
	p := &server.Permissions{Publish: &server.SubjectPermission{}, Subscribe: &server.SubjectPermission{}}
	for _, need := range doctor.NATSNeeds("rekey") {
		list := &p.Publish.Allow
		if need.Subscribe {
			list = &p.Subscribe.Allow
		}
		*list = append(*list, need.Grant)
	}
	p.Publish.Allow = append(p.Publish.Allow, "$SYS.REQ.USER.INFO")
	return p
}

// startAllowing runs a server with a user "worker" who may do what is given, and "all" who may do everything.
func startAllowing(t *testing.T, p *server.Permissions) *server.Server {
	t.Helper()
	return startNATS(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "worker", Password: "secret-of-worker", Permissions: p}, {Username: "all", Password: "secret-of-all"}}
	})
}

func asWorker(srv *server.Server, r *rig) string {
	r.env["NATS_PASSWORD"] = "secret-of-worker"
	return fmt.Sprintf("{url: %q, user: worker, password_env: NATS_PASSWORD}", srv.ClientURL())
}

// without are permissions without one line.
func without(p *server.Permissions, grant string) *server.Permissions {
	drop := func(list []string) []string {
		var rest []string
		for _, line := range list {
			if line != grant {
				rest = append(rest, line)
			}
		}
		return rest
	}
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: drop(p.Publish.Allow)}, Subscribe: &server.SubjectPermission{Allow: drop(p.Subscribe.Allow)},
	}
}

func TestDoctorNamesAMissingPermission(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		given *server.Permissions
		what  string
		state doctor.Status
		want  string
	}{
		{name: "all that is needed", given: needed(), what: "permissions", state: doctor.OK, want: `all that a worker needs`},
		{
			name: "no results", given: without(needed(), "rekey.v1.result.>"), what: "permissions", state: doctor.Failed,
			want: `may not publish rekey.v1.result.>, for results → add "rekey.v1.result.>" to publish.allow`,
		},
		{
			name: "no advisories", given: without(needed(), "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.REKEY_JOBS.*"), what: "permissions",
			state: doctor.Failed, want: `may not subscribe .*REKEY_JOBS.*subscribe.allow`,
		},
		{
			name: "denied", what: "permissions", state: doctor.Failed, want: `take "rekey.v1.job.urgent.>" out of publish.deny`,
			given: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: []string{"rekey.v1.job.urgent.>"}}},
		},
		{
			name: "who we are may not be asked", given: without(needed(), "$SYS.REQ.USER.INFO"), what: "permissions", state: doctor.Warning,
			want: `add "\$SYS.REQ.USER.INFO" to publish.allow`,
		},
		{
			name: "limits may not be read", given: without(needed(), "$JS.API.INFO"), what: "jetstream", state: doctor.Skipped, want: `\$JS.API.INFO`,
		},
		{
			name: "no inbox", given: without(needed(), "_INBOX.>"), what: "permissions", state: doctor.Failed, want: `nats.inbox_prefix`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, _ := standInRig(t)
			srv := startAllowing(t, tt.given)
			mustFind(t, examine(t, r, plain(r, asWorker(srv, r), "")), "nats", tt.what, tt.state, tt.want)
		})
	}
}

func TestDoctorTriesWhatItMayRead(t *testing.T) {
	t.Parallel()
	r, _ := standInRig(t)
	srv := startAllowing(t, without(without(needed(), "$SYS.REQ.USER.INFO"), "$JS.API.STREAM.INFO.REKEY_DLQ"))
	mustFind(t, examine(t, r, plain(r, asWorker(srv, r), "")), "streams", "REKEY_DLQ", doctor.Failed, `add "\$JS.API.STREAM.INFO.REKEY_DLQ" to publish.allow`)
}

func TestDoctorFindsWrongCredentials(t *testing.T) {
	t.Parallel()
	r, _ := standInRig(t)
	srv := startAllowing(t, needed())
	text := strings.Replace(plain(r, asWorker(srv, r), ""), "NATS_PASSWORD", "NATS_OTHER", 1)
	r.env["NATS_OTHER"] = canary()
	mustFind(t, examine(t, r, text), "nats", "server", doctor.Failed, `(?i)authorization.*→ the server does not know these credentials`)
}

// TestDoctorAsksForEnough: a worker that has exactly what the doctor asks for works, and the server refuses it nothing.
func TestDoctorAsksForEnough(t *testing.T) {
	t.Parallel()
	r, s := standInRig(t)
	srv := startAllowing(t, needed())
	r.cfg.NATS.URL, r.cfg.NATS.User, r.cfg.NATS.Password.Env = srv.ClientURL(), "worker", "NATS_PASSWORD"
	r.env["NATS_PASSWORD"] = "secret-of-worker"
	w := r.launch(t)
	w.awaitReady()
	w.connected(t, nats.UserInfo("all", "secret-of-all"))
	w.publish("incident", tokenRevoke(canary()).String())
	w.publish("incident", x509Disable(hexID(1)).String())
	w.publish("rotation", "nonsense")
	s.await(t, "customerX509", 1)
	w.results(2)
	w.letters(1)
	w.stop()
	mustRefuseNothing(t, r)
}

// TestShippedPermissionsAreEnough: the doctor finds that the file for the servers has all that a worker needs.
func TestShippedPermissionsAreEnough(t *testing.T) {
	t.Parallel()
	r, _ := standInRig(t)
	g := startGuarded(t)
	seed := inFile(t, g.seeds["worker"])
	r.env["SEED"] = g.seeds["worker"] // It is to be found in no output.
	if err := os.Chmod(seed, 0o600); err != nil {
		t.Fatal(err)
	}
	found := examine(t, r, plain(r, fmt.Sprintf("{url: %q, nkey_file: %s}", g.url, seed), ""))
	mustFind(t, found, "nats", "user", doctor.OK, `REKEY`)
	mustFind(t, found, "nats", "permissions", doctor.OK, `all that a worker needs`)
	mustFind(t, found, "nats", "jetstream", doctor.OK, `^on;`)
}
