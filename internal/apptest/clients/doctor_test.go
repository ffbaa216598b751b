package clients_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/apptest"
	"rekey/internal/doctor"
)

// schedules names a target for each account.
const schedules = `
schedules:
  - {name: certificates, cron: "@daily", job: {kind: x509.disable, account: security, params: {project_id: "5ec0000000000000000000f1"}}}
  - {name: keys, cron: "0 3 * * 0", time_zone: Europe/Berlin, job: {kind: jwks.revoke, account: legacy,
      params: {federation_id: "5ec0000000000000000000c1", identity_provider_id: "5ec0000000000000000000d2"}}}
`

func TestDoctorBeforeTheFirstWorker(t *testing.T) {
	t.Parallel()
	box, url := apptest.StartSandbox(t)
	r := apptest.SandboxRig(t, box, url)
	store := filepath.Join(t.TempDir(), "store")
	free := apptest.FreeAddress(t)
	found := apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf(`{embedded: {store_dir: %s, listen: "%s"}}`, store, free), schedules))
	apptest.MustFind(t, found, "configuration", "file", doctor.OK, `accounts 2, policies 0, schedules 2`)
	apptest.MustFind(t, found, "configuration", "schedule keys", doctor.OK, `jwks.revoke fires next on .* 03:00:00 CES?T \(Europe/Berlin\)`)
	apptest.MustFind(t, found, "secrets", "sealing keys", doctor.OK, `will be made at the start`)
	apptest.MustFind(t, found, "nats", "store", doctor.OK, `will be made at the start`)
	apptest.MustFind(t, found, "nats", "server", doctor.Skipped, `no worker runs on this store`)
	apptest.MustFind(t, found, "streams", "streams", doctor.Skipped, `cannot be asked`)
	apptest.MustFind(t, found, "ports", "nats.embedded.listen", doctor.OK, `free`)
	apptest.MustFind(t, found, "ports", "http.listen", doctor.Skipped, `nothing listens`)
	apptest.MustFind(t, found, "accounts", "security: token", doctor.OK, `obtained`)
	apptest.MustFind(t, found, "accounts", "security: x509.disable", doctor.OK, `readable.*Project Owner`)
	apptest.MustFind(t, found, "accounts", "security: x509.disable proof", doctor.OK, `readable: user_security, clusters, flex_clusters, events`)
	apptest.MustFind(t, found, "accounts", "legacy: key", doctor.OK, `accepted`)
	apptest.MustFind(t, found, "accounts", "legacy: jwks.revoke", doctor.OK, `readable.*Organization Owner`)
	apptest.MustFind(t, found, "accounts", "security: roles", doctor.OK, `Organization Owner of 5ec0000000000000000000b1: .*in federation 5ec0000000000000000000c1`)
	apptest.MustFind(t, found, "accounts", "clock", doctor.OK, `agrees`)
	if n := doctor.Count(found, doctor.Failed); n != 0 {
		t.Errorf("%d findings have failed, want none", n)
	}
	if _, err := os.Stat(store); !os.IsNotExist(err) {
		t.Errorf("the doctor has made the store: %v", err)
	}
}

// The doctor says where searches are answered from, and why not beside an encrypted store.
func TestDoctorSaysWhatAnswersSearches(t *testing.T) {
	t.Parallel()
	box, url := apptest.StartSandbox(t)
	r := apptest.SandboxRig(t, box, url)
	store, key := filepath.Join(t.TempDir(), "store"), apptest.InFile(t, rand.Text())
	plain, encrypted := fmt.Sprintf(`{embedded: {store_dir: %s, listen: ""}}`, store), fmt.Sprintf(`{embedded: {store_dir: %s, listen: "", encryption_key_file: %s}}`, store, key)
	for _, tt := range []struct {
		name, nats, more string
		status           doctor.Status
		want             string
	}{
		{"its folder is the store", plain, "", doctor.OK, "a file in " + store},
		{"the store is encrypted", encrypted, "", doctor.Warning, "off: the store is encrypted.* in memory.*search.dir"},
		{"an encrypted store, and a folder", encrypted, "\nsearch: {dir: /var/lib/other}", doctor.OK, "a file in /var/lib/other"},
		{"off", encrypted, "\nsearch: {off: true}", doctor.Skipped, "off \\(search.off\\)"},
		{"an external server", `{url: "nats://127.0.0.1:1"}`, "", doctor.OK, "temporary file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			found := apptest.Examine(t, r, apptest.Plain(r, tt.nats, tt.more))
			apptest.MustFind(t, found, "configuration", "search", tt.status, tt.want)
		})
	}
}

func TestDoctorBesideARunningWorker(t *testing.T) {
	t.Parallel()
	box, url := apptest.StartSandbox(t)
	r := apptest.SandboxRig(t, box, url)
	r.Cfg.NATS.Embedded.Listen, r.Cfg.HTTP.Listen = apptest.FreeAddress(t), apptest.FreeAddress(t)
	w := r.Start(t)
	text := apptest.Plain(r, fmt.Sprintf(`{embedded: {store_dir: %s, listen: "%s"}}`, r.Cfg.NATS.Embedded.StoreDir, r.Cfg.NATS.Embedded.Listen), schedules)
	text = strings.Replace(text, `listen: ""`, fmt.Sprintf("listen: %q", r.Cfg.HTTP.Listen), 1)
	found := apptest.Examine(t, r, text)
	apptest.MustFind(t, found, "nats", "store", doctor.OK, `in use by a running worker`)
	apptest.MustFind(t, found, "nats", "server", doctor.OK, `NATS 2\.`)
	apptest.MustFind(t, found, "nats", "permissions", doctor.OK, `everything is allowed`)
	apptest.MustFind(t, found, "nats", "jetstream", doctor.OK, `^on; `)
	apptest.MustFind(t, found, "nats", "clock", doctor.OK, `agrees`)
	apptest.MustFind(t, found, "streams", "existing", doctor.OK, `REKEY_EVENTS, REKEY_JOBS.*REKEY_LEDGER`)
	apptest.MustFind(t, found, "ports", "http.listen", doctor.OK, `running worker, which is ready`)
	apptest.MustFind(t, found, "ports", "nats.embedded.listen", doctor.OK, `running worker`)
	if n := doctor.Count(found, doctor.Failed); n != 0 {
		t.Errorf("%d findings have failed, want none", n)
	}
	w.Stop()
}

func TestDoctorChangesNothingInNATS(t *testing.T) {
	t.Parallel()
	box, url := apptest.StartSandbox(t)
	r := apptest.SandboxRig(t, box, url)
	srv := apptest.StartNATS(t, nil)
	found := apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{url: %q}", srv.ClientURL()), schedules))
	apptest.MustFind(t, found, "streams", "missing", doctor.OK, `a worker makes them: .*REKEY_EVENTS.*REKEY_TOKENS`)
	apptest.MustFind(t, found, "streams", "copies", doctor.Warning, `nats.replicas`)
	s, err := srv.Jsz(&server.JSzOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Streams != 0 || s.Consumers != 0 || s.Messages != 0 {
		t.Errorf("after the doctor there are %d streams, %d consumers and %d messages, want none", s.Streams, s.Consumers, s.Messages)
	}
	for _, c := range box.Requests() {
		if c.Method != http.MethodGet && c.Path != apptest.TokenPath {
			t.Errorf("the API was asked for %s %s", c.Method, c.Path)
		}
	}
}

func TestDoctorNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	box, url := apptest.StartSandbox(t)
	dead := apptest.FreeAddress(t)
	open := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(open, []byte("mdb_sa_sk_"+apptest.Canary()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o604); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name       string
		change     func(r *apptest.Rig, text string) string
		area, what string
		status     doctor.Status
		want       string
	}{
		{
			name:   "NATS is down, and the accounts are examined all the same",
			change: func(_ *apptest.Rig, text string) string { return text },
			area:   "nats", what: "server", status: doctor.Failed, want: `connection refused → start the server, or correct nats.url`,
		},
		{
			name:   "accounts without NATS",
			change: func(_ *apptest.Rig, text string) string { return text },
			area:   "accounts", what: "security: token", status: doctor.OK, want: `obtained`,
		},
		{
			name: "wrong client secret",
			change: func(r *apptest.Rig, text string) string {
				r.Env["SECURITY_SECRET"] = "mdb_sa_sk_" + apptest.Canary()
				return text
			},
			area: "accounts", what: "security: token", status: doctor.Failed, want: `invalid_client.*→ client_id or secret is wrong.*SECURITY_SECRET`,
		},
		{
			name:   "wrong private key",
			change: func(r *apptest.Rig, text string) string { r.Env["LEGACY_KEY"] = apptest.Canary(); return text },
			area:   "accounts", what: "legacy: key", status: doctor.Failed, want: `401.*→ public_key or private key is wrong.*LEGACY_KEY`,
		},
		{
			name:   "secret that is not there",
			change: func(r *apptest.Rig, text string) string { delete(r.Env, "SECURITY_SECRET"); return text },
			area:   "secrets", what: "atlas.accounts[0].client_secret_env", status: doctor.Failed, want: `not set.*set SECURITY_SECRET.*client_secret_file`,
		},
		{
			name: "secret that every user can read",
			change: func(_ *apptest.Rig, text string) string {
				return strings.Replace(text, "client_secret_env: SECURITY_SECRET", "client_secret_file: "+open, 1)
			},
			area: "secrets", what: "atlas.accounts[0].client_secret_file", status: doctor.Warning, want: `mode 0604.*chmod o-rwx`,
		},
		{
			name: "expired secret",
			change: func(_ *apptest.Rig, text string) string {
				return strings.Replace(text, "SECURITY_SECRET}", `SECURITY_SECRET, secret_expires_at: "2020-01-01"}`, 1)
			},
			area: "secrets", what: "account security expires", status: doctor.Failed, want: `ended on 2020-01-01`,
		},
		{
			name: "mistyped target",
			change: func(_ *apptest.Rig, text string) string {
				return strings.Replace(text, "5ec0000000000000000000f1", "5ec0000000000000000000ff", 1)
			},
			area: "accounts", what: "security: x509.disable", status: doctor.Failed, want: `404.*correct the ids`,
		},
		{
			name:   "API without an answer",
			change: func(_ *apptest.Rig, text string) string { return strings.Replace(text, url, "http://"+dead, 1) },
			area:   "accounts", what: "security: token", status: doctor.Failed, want: `connection refused.*atlas.base_url`,
		},
		{
			name:   "mistakes in the file",
			change: func(_ *apptest.Rig, text string) string { return text + "\nretry: {base: never}\n" },
			area:   "configuration", what: "line 15", status: doctor.Failed, want: `retry.base`,
		},
		{
			name:   "the rest after mistakes",
			change: func(_ *apptest.Rig, text string) string { return text + "\nretry: {base: never}\n" },
			area:   "accounts", what: "everything", status: doctor.Skipped, want: `cannot be used`,
		},
		{
			name: "schedule that never fires",
			change: func(_ *apptest.Rig, text string) string {
				return strings.Replace(text, `"@daily",`, `"@daily", not_during: [{from: "2020-01-01", until: "2999-01-01"}],`, 1)
			},
			area: "configuration", what: "schedule certificates", status: doctor.Failed, want: `never fires.*not_during`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := apptest.SandboxRig(t, box, url)
			text := tt.change(r, apptest.Plain(r, fmt.Sprintf("{url: nats://%s}", dead), schedules))
			apptest.MustFind(t, apptest.Examine(t, r, text), tt.area, tt.what, tt.status, tt.want)
		})
	}
}

func TestDoctorFindsAPortThatIsTaken(t *testing.T) {
	t.Parallel()
	r, s := apptest.StandInRig(t)
	one, other := strings.TrimPrefix(s.URL, "http://"), strings.TrimPrefix(apptest.NewStandIn(t).URL, "http://")
	text := apptest.Plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: %q}}", t.TempDir(), one), "")
	text = strings.Replace(text, `listen: ""`, fmt.Sprintf("listen: %q", other), 1)
	found := apptest.Examine(t, r, text)
	apptest.MustFind(t, found, "ports", "http.listen", doctor.Failed, `taken by another program → set http.listen to a free port`)
	apptest.MustFind(t, found, "ports", "nats.embedded.listen", doctor.Failed, `taken by another program`)
}

// TestDoctorSeesWeakStreams: what exists and keeps a promise less well.
func TestDoctorSeesWeakStreams(t *testing.T) {
	t.Parallel()
	r, _ := apptest.StandInRig(t)
	srv := apptest.StartNATS(t, nil)
	s := apptest.DialNATS(t, srv.ClientURL())
	weak := jetstream.StreamConfig{Name: "REKEY_EVENTS", Subjects: []string{"rekey.v1.event.>"}, Storage: jetstream.MemoryStorage}
	if _, err := s.Js.CreateStream(t.Context(), weak); err != nil {
		t.Fatal(err)
	}
	found := apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{url: %q}", srv.ClientURL()), ""))
	apptest.MustFind(t, found, "streams", "REKEY_EVENTS", doctor.Warning, `storage is Memory.*→ change it`)
	apptest.MustFind(t, found, "streams", "REKEY_EVENTS", doctor.Warning, `discard policy`)
}

// TestDoctorSeesWhatTakesNothingIn: settings under which no event comes in, by the names of who is in the way.
func TestDoctorSeesWhatTakesNothingIn(t *testing.T) {
	t.Parallel()
	r, _ := apptest.StandInRig(t)
	srv := apptest.StartNATS(t, nil)
	s := apptest.DialNATS(t, srv.ClientURL())
	for _, cfg := range []jetstream.StreamConfig{
		{Name: "SIEM", Subjects: []string{"rekey.v1.event.incident"}},
		{Name: "REKEY_JOBS", Subjects: []string{"rekey.v1.job.>"}, Retention: jetstream.WorkQueuePolicy, AllowDirect: true, NoAck: true},
	} {
		if _, err := s.Js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Js.CreateConsumer(t.Context(), "REKEY_JOBS", jetstream.ConsumerConfig{
		Durable: "jobs-urgent", FilterSubject: "rekey.v1.job.other.>", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	found := apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{url: %q}", srv.ClientURL()), ""))
	apptest.MustFind(t, found, "streams", "REKEY_EVENTS", doctor.Failed, `the stream SIEM has its subjects → take the subjects out of the stream SIEM`)
	apptest.MustFind(t, found, "streams", "REKEY_JOBS", doctor.Failed, `no_ack is true`)
	apptest.MustFind(t, found, "streams", "REKEY_JOBS jobs-urgent", doctor.Warning, `filter is rekey.v1.job.other.> instead of rekey.v1.job.urgent.>.*max_deliver is 3 instead of -1`)
}
