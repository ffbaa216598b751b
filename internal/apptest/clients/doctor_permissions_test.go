package clients_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"rekey/internal/apptest"
	"rekey/internal/doctor"
)

func asWorker(srv *server.Server, r *apptest.Rig) string {
	r.Env["NATS_PASSWORD"] = "secret-of-worker"
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
		{name: "all that is needed", given: apptest.Needed(), what: "permissions", state: doctor.OK, want: `all that a worker needs`},
		{
			name: "no results", given: without(apptest.Needed(), "rekey.v1.result.>"), what: "permissions", state: doctor.Failed,
			want: `may not publish rekey.v1.result.>, for results → add "rekey.v1.result.>" to publish.allow`,
		},
		{
			name: "no advisories", given: without(apptest.Needed(), "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.REKEY_JOBS.*"), what: "permissions",
			state: doctor.Failed, want: `may not subscribe .*REKEY_JOBS.*subscribe.allow`,
		},
		{
			name: "denied", what: "permissions", state: doctor.Failed, want: `take "rekey.v1.job.urgent.>" out of publish.deny`,
			given: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: []string{"rekey.v1.job.urgent.>"}}},
		},
		{
			name: "who we are may not be asked", given: without(apptest.Needed(), "$SYS.REQ.USER.INFO"), what: "permissions", state: doctor.Warning,
			want: `add "\$SYS.REQ.USER.INFO" to publish.allow`,
		},
		{
			name: "limits may not be read", given: without(apptest.Needed(), "$JS.API.INFO"), what: "jetstream", state: doctor.Skipped, want: `\$JS.API.INFO`,
		},
		{
			name: "no inbox", given: without(apptest.Needed(), "_INBOX.>"), what: "permissions", state: doctor.Failed, want: `nats.inbox_prefix`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, _ := apptest.StandInRig(t)
			srv := apptest.StartAllowing(t, tt.given)
			apptest.MustFind(t, apptest.Examine(t, r, apptest.Plain(r, asWorker(srv, r), "")), "nats", tt.what, tt.state, tt.want)
		})
	}
}

func TestDoctorTriesWhatItMayRead(t *testing.T) {
	t.Parallel()
	r, _ := apptest.StandInRig(t)
	srv := apptest.StartAllowing(t, without(without(apptest.Needed(), "$SYS.REQ.USER.INFO"), "$JS.API.STREAM.INFO.REKEY_DLQ"))
	apptest.MustFind(t, apptest.Examine(t, r, apptest.Plain(r, asWorker(srv, r), "")), "streams", "REKEY_DLQ", doctor.Failed, `add "\$JS.API.STREAM.INFO.REKEY_DLQ" to publish.allow`)
}

func TestDoctorFindsWrongCredentials(t *testing.T) {
	t.Parallel()
	r, _ := apptest.StandInRig(t)
	srv := apptest.StartAllowing(t, apptest.Needed())
	text := strings.Replace(apptest.Plain(r, asWorker(srv, r), ""), "NATS_PASSWORD", "NATS_OTHER", 1)
	r.Env["NATS_OTHER"] = apptest.Canary()
	apptest.MustFind(t, apptest.Examine(t, r, text), "nats", "server", doctor.Failed, `(?i)authorization.*→ the server does not know these credentials`)
}

// TestDoctorAsksForEnough: a worker that has exactly what the doctor asks for works, and the server refuses it nothing.
func TestDoctorAsksForEnough(t *testing.T) {
	t.Parallel()
	r, s := apptest.StandInRig(t)
	srv := apptest.StartAllowing(t, apptest.Needed())
	r.Cfg.NATS.URL, r.Cfg.NATS.User, r.Cfg.NATS.Password.Env = srv.ClientURL(), "worker", "NATS_PASSWORD"
	r.Env["NATS_PASSWORD"] = "secret-of-worker"
	w := r.Launch(t)
	w.AwaitReady()
	w.Connected(t, nats.UserInfo("all", "secret-of-all"))
	w.Publish("incident", apptest.TokenRevoke(apptest.Canary()).String())
	w.Publish("incident", apptest.X509Disable(apptest.HexID(1)).String())
	w.Publish("rotation", "nonsense")
	s.Await(t, "customerX509", 1)
	w.Results(2)
	w.Letters(1)
	w.Stop()
	apptest.MustRefuseNothing(t, r)
}

// TestShippedPermissionsAreEnough: the doctor finds that the file for the servers has all that a worker needs.
func TestShippedPermissionsAreEnough(t *testing.T) {
	t.Parallel()
	r, _ := apptest.StandInRig(t)
	g := apptest.StartGuarded(t)
	seed := apptest.InFile(t, g.Seeds["worker"])
	r.Env["SEED"] = g.Seeds["worker"] // It is to be found in no output.
	if err := os.Chmod(seed, 0o600); err != nil {
		t.Fatal(err)
	}
	found := apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{url: %q, nkey_file: %s}", g.URL, seed), ""))
	apptest.MustFind(t, found, "nats", "user", doctor.OK, `REKEY`)
	apptest.MustFind(t, found, "nats", "permissions", doctor.OK, `all that a worker needs`)
	apptest.MustFind(t, found, "nats", "jetstream", doctor.OK, `^on;`)
}
