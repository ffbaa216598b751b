package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/doctor"
)

// examine writes a configuration, lets the doctor look at it, and checks that no secret is in what it says.
func examine(t *testing.T, r *rig, text string) []doctor.Finding {
	t.Helper()
	return examineWith(t, r, text, doctor.Doctor{})
}

func examineWith(t *testing.T, r *rig, text string, d doctor.Doctor) []doctor.Finding {
	t.Helper()
	d.File, d.Version, d.LookupEnv = filepath.Join(t.TempDir(), "worker.yaml"), "1.2.3", r.lookupEnv
	if err := os.WriteFile(d.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	found := d.Examine(ctx)
	shown, err := json.MarshalIndent(found, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range r.env {
		if !strings.HasPrefix(name, "OTEL_") && strings.Contains(string(shown), value) {
			t.Errorf("a secret is shown: %s", shown)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("found: %s", shown)
		}
	})
	return found
}

// mustFind checks that something was found with a status, and that what is said of it matches.
func mustFind(t *testing.T, list []doctor.Finding, area, what string, status doctor.Status, pattern string) {
	t.Helper()
	for _, f := range list {
		if f.Area != area || f.What != what || f.Status != status {
			continue
		}
		if regexp.MustCompile(pattern).MatchString(f.Found + " → " + f.Do) {
			return
		}
	}
	t.Errorf("no finding %s, %s, %s matches %q", area, what, status, pattern)
}

// plain is a configuration with the accounts of a rig.
func plain(r *rig, nats, more string) string {
	return fmt.Sprintf(`
nats: %s
atlas:
  base_url: %s
  accounts:
    - {name: security, client_id: %s, client_secret_env: SECURITY_SECRET}
    - {name: legacy, public_key: %s, private_key_env: LEGACY_KEY}
http: {listen: ""}
%s`, nats, r.cfg.Atlas.BaseURL, r.cfg.Atlas.Accounts[0].ClientID, r.cfg.Atlas.Accounts[1].PublicKey, more)
}

// schedules names a target for each account.
const schedules = `
schedules:
  - {name: certificates, cron: "@daily", job: {kind: x509.disable, account: security, params: {project_id: "5ec0000000000000000000f1"}}}
  - {name: keys, cron: "0 3 * * 0", time_zone: Europe/Berlin, job: {kind: jwks.revoke, account: legacy,
      params: {federation_id: "5ec0000000000000000000c1", identity_provider_id: "5ec0000000000000000000d2"}}}
`

func TestDoctorBeforeTheFirstWorker(t *testing.T) {
	t.Parallel()
	box, url := startSandbox(t)
	r := sandboxRig(t, box, url)
	store := filepath.Join(t.TempDir(), "store")
	free := freeAddress(t)
	found := examine(t, r, plain(r, fmt.Sprintf(`{embedded: {store_dir: %s, listen: "%s"}}`, store, free), schedules))
	mustFind(t, found, "configuration", "file", doctor.OK, `accounts 2, policies 0, schedules 2`)
	mustFind(t, found, "configuration", "schedule keys", doctor.OK, `jwks.revoke fires next on .* 03:00:00 CES?T \(Europe/Berlin\)`)
	mustFind(t, found, "secrets", "sealing keys", doctor.OK, `will be made at the start`)
	mustFind(t, found, "nats", "store", doctor.OK, `will be made at the start`)
	mustFind(t, found, "nats", "server", doctor.Skipped, `no worker runs on this store`)
	mustFind(t, found, "streams", "streams", doctor.Skipped, `cannot be asked`)
	mustFind(t, found, "ports", "nats.embedded.listen", doctor.OK, `free`)
	mustFind(t, found, "ports", "http.listen", doctor.Skipped, `nothing listens`)
	mustFind(t, found, "accounts", "security: token", doctor.OK, `obtained`)
	mustFind(t, found, "accounts", "security: x509.disable", doctor.OK, `readable.*Project Owner`)
	mustFind(t, found, "accounts", "legacy: key", doctor.OK, `accepted`)
	mustFind(t, found, "accounts", "legacy: jwks.revoke", doctor.OK, `readable.*Organization Owner`)
	mustFind(t, found, "accounts", "security: roles", doctor.OK, `Organization Owner of 5ec0000000000000000000b1: .*in federation 5ec0000000000000000000c1`)
	mustFind(t, found, "accounts", "clock", doctor.OK, `agrees`)
	if n := doctor.Count(found, doctor.Failed); n != 0 {
		t.Errorf("%d findings have failed, want none", n)
	}
	if _, err := os.Stat(store); !os.IsNotExist(err) {
		t.Errorf("the doctor has made the store: %v", err)
	}
}

func TestDoctorBesideARunningWorker(t *testing.T) {
	t.Parallel()
	box, url := startSandbox(t)
	r := sandboxRig(t, box, url)
	r.cfg.NATS.Embedded.Listen, r.cfg.HTTP.Listen = freeAddress(t), freeAddress(t)
	w := r.start(t)
	text := plain(r, fmt.Sprintf(`{embedded: {store_dir: %s, listen: "%s"}}`, r.cfg.NATS.Embedded.StoreDir, r.cfg.NATS.Embedded.Listen), schedules)
	text = strings.Replace(text, `listen: ""`, fmt.Sprintf("listen: %q", r.cfg.HTTP.Listen), 1)
	found := examine(t, r, text)
	mustFind(t, found, "nats", "store", doctor.OK, `in use by a running worker`)
	mustFind(t, found, "nats", "server", doctor.OK, `NATS 2\.`)
	mustFind(t, found, "nats", "permissions", doctor.OK, `everything is allowed`)
	mustFind(t, found, "nats", "jetstream", doctor.OK, `^on; `)
	mustFind(t, found, "nats", "clock", doctor.OK, `agrees`)
	mustFind(t, found, "streams", "existing", doctor.OK, `REKEY_EVENTS, REKEY_JOBS.*REKEY_LEDGER`)
	mustFind(t, found, "ports", "http.listen", doctor.OK, `running worker, which is ready`)
	mustFind(t, found, "ports", "nats.embedded.listen", doctor.OK, `running worker`)
	if n := doctor.Count(found, doctor.Failed); n != 0 {
		t.Errorf("%d findings have failed, want none", n)
	}
	w.stop()
}

func TestDoctorChangesNothingInNATS(t *testing.T) {
	t.Parallel()
	box, url := startSandbox(t)
	r := sandboxRig(t, box, url)
	srv := startNATS(t, nil)
	found := examine(t, r, plain(r, fmt.Sprintf("{url: %q}", srv.ClientURL()), schedules))
	mustFind(t, found, "streams", "missing", doctor.OK, `a worker makes them: .*REKEY_EVENTS.*REKEY_TOKENS`)
	mustFind(t, found, "streams", "copies", doctor.Warning, `nats.replicas`)
	s, err := srv.Jsz(&server.JSzOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Streams != 0 || s.Consumers != 0 || s.Messages != 0 {
		t.Errorf("after the doctor there are %d streams, %d consumers and %d messages, want none", s.Streams, s.Consumers, s.Messages)
	}
	for _, c := range box.Requests() {
		if c.Method != http.MethodGet && c.Path != tokenPath {
			t.Errorf("the API was asked for %s %s", c.Method, c.Path)
		}
	}
}

func TestDoctorNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	box, url := startSandbox(t)
	dead := freeAddress(t)
	open := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(open, []byte("mdb_sa_sk_"+canary()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o604); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name       string
		change     func(r *rig, text string) string
		area, what string
		status     doctor.Status
		want       string
	}{
		{
			name:   "NATS is down, and the accounts are examined all the same",
			change: func(_ *rig, text string) string { return text },
			area:   "nats", what: "server", status: doctor.Failed, want: `connection refused → start the server, or correct nats.url`,
		},
		{
			name:   "accounts without NATS",
			change: func(_ *rig, text string) string { return text },
			area:   "accounts", what: "security: token", status: doctor.OK, want: `obtained`,
		},
		{
			name:   "wrong client secret",
			change: func(r *rig, text string) string { r.env["SECURITY_SECRET"] = "mdb_sa_sk_" + canary(); return text },
			area:   "accounts", what: "security: token", status: doctor.Failed, want: `invalid_client.*→ client_id or secret is wrong.*SECURITY_SECRET`,
		},
		{
			name:   "wrong private key",
			change: func(r *rig, text string) string { r.env["LEGACY_KEY"] = canary(); return text },
			area:   "accounts", what: "legacy: key", status: doctor.Failed, want: `401.*→ public_key or private key is wrong.*LEGACY_KEY`,
		},
		{
			name:   "secret that is not there",
			change: func(r *rig, text string) string { delete(r.env, "SECURITY_SECRET"); return text },
			area:   "secrets", what: "atlas.accounts[0].client_secret_env", status: doctor.Failed, want: `not set.*set SECURITY_SECRET.*client_secret_file`,
		},
		{
			name: "secret that is open to everybody",
			change: func(_ *rig, text string) string {
				return strings.Replace(text, "client_secret_env: SECURITY_SECRET", "client_secret_file: "+open, 1)
			},
			area: "secrets", what: "atlas.accounts[0].client_secret_file", status: doctor.Warning, want: `mode 0604.*chmod o-rwx`,
		},
		{
			name: "expired secret",
			change: func(_ *rig, text string) string {
				return strings.Replace(text, "SECURITY_SECRET}", `SECURITY_SECRET, secret_expires_at: "2020-01-01"}`, 1)
			},
			area: "secrets", what: "account security expires", status: doctor.Failed, want: `ended on 2020-01-01`,
		},
		{
			name: "mistyped target",
			change: func(_ *rig, text string) string {
				return strings.Replace(text, "5ec0000000000000000000f1", "5ec0000000000000000000ff", 1)
			},
			area: "accounts", what: "security: x509.disable", status: doctor.Failed, want: `404.*correct the ids`,
		},
		{
			name:   "API that nobody answers for",
			change: func(_ *rig, text string) string { return strings.Replace(text, url, "http://"+dead, 1) },
			area:   "accounts", what: "security: token", status: doctor.Failed, want: `connection refused.*atlas.base_url`,
		},
		{
			name:   "mistakes in the file",
			change: func(_ *rig, text string) string { return text + "\nretry: {base: never}\n" },
			area:   "configuration", what: "line 15", status: doctor.Failed, want: `retry.base`,
		},
		{
			name:   "the rest after mistakes",
			change: func(_ *rig, text string) string { return text + "\nretry: {base: never}\n" },
			area:   "accounts", what: "everything", status: doctor.Skipped, want: `cannot be used`,
		},
		{
			name: "schedule that never fires",
			change: func(_ *rig, text string) string {
				return strings.Replace(text, `"@daily",`, `"@daily", not_during: [{from: "2020-01-01", until: "2999-01-01"}],`, 1)
			},
			area: "configuration", what: "schedule certificates", status: doctor.Failed, want: `never fires.*not_during`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := sandboxRig(t, box, url)
			text := tt.change(r, plain(r, fmt.Sprintf("{url: nats://%s}", dead), schedules))
			mustFind(t, examine(t, r, text), tt.area, tt.what, tt.status, tt.want)
		})
	}
}

func TestDoctorFindsAPortThatIsTaken(t *testing.T) {
	t.Parallel()
	r, s := standInRig(t)
	other := strings.TrimPrefix(s.url, "http://")
	text := plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: %q}}", t.TempDir(), other), "")
	text = strings.Replace(text, `listen: ""`, fmt.Sprintf("listen: %q", other), 1)
	found := examine(t, r, text)
	mustFind(t, found, "ports", "http.listen", doctor.Failed, `taken by another program → set http.listen to a free port`)
	mustFind(t, found, "ports", "nats.embedded.listen", doctor.Failed, `taken by another program`)
}

// TestDoctorSeesWeakStreams: what exists and keeps a promise less well.
func TestDoctorSeesWeakStreams(t *testing.T) {
	t.Parallel()
	r, _ := standInRig(t)
	srv := startNATS(t, nil)
	s := dialNATS(t, srv.ClientURL())
	weak := jetstream.StreamConfig{Name: "REKEY_EVENTS", Subjects: []string{"rekey.v1.event.>"}, Storage: jetstream.MemoryStorage}
	if _, err := s.js.CreateStream(t.Context(), weak); err != nil {
		t.Fatal(err)
	}
	found := examine(t, r, plain(r, fmt.Sprintf("{url: %q}", srv.ClientURL()), ""))
	mustFind(t, found, "streams", "REKEY_EVENTS", doctor.Warning, `storage is Memory.*→ change it`)
	mustFind(t, found, "streams", "REKEY_EVENTS", doctor.Warning, `discard policy`)
}

// TestDoctorSeesWhatTakesNothingIn: settings under which no event comes in, by the names of who is in the way.
func TestDoctorSeesWhatTakesNothingIn(t *testing.T) {
	t.Parallel()
	r, _ := standInRig(t)
	srv := startNATS(t, nil)
	s := dialNATS(t, srv.ClientURL())
	for _, cfg := range []jetstream.StreamConfig{
		{Name: "SIEM", Subjects: []string{"rekey.v1.event.incident"}},
		{Name: "REKEY_JOBS", Subjects: []string{"rekey.v1.job.>"}, Retention: jetstream.WorkQueuePolicy, AllowDirect: true, NoAck: true},
	} {
		if _, err := s.js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.js.CreateConsumer(t.Context(), "REKEY_JOBS", jetstream.ConsumerConfig{
		Durable: "jobs-urgent", FilterSubject: "rekey.v1.job.other.>", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	found := examine(t, r, plain(r, fmt.Sprintf("{url: %q}", srv.ClientURL()), ""))
	mustFind(t, found, "streams", "REKEY_EVENTS", doctor.Failed, `the stream SIEM has its subjects → take the subjects out of the stream SIEM`)
	mustFind(t, found, "streams", "REKEY_JOBS", doctor.Failed, `no_ack is true`)
	mustFind(t, found, "streams", "REKEY_JOBS jobs-urgent", doctor.Warning, `filter is rekey.v1.job.other.> instead of rekey.v1.job.urgent.>.*max_deliver is 3 instead of -1`)
}
