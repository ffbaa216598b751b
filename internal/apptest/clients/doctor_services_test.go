package clients_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/doctor"
	"rekey/internal/schedule"
	"rekey/internal/secret"
)

// vaultStandIn answers what the doctor asks of Vault (developer.hashicorp.com/vault/api-docs: sys/health, auth/token).
func vaultStandIn(t *testing.T, token string, sealed bool) string {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet && r.URL.Path != "/v1/sys/capabilities-self":
			t.Errorf("Vault was asked for %s %s", r.Method, r.URL.Path)
		case r.URL.Path == "/v1/sys/health":
			fmt.Fprintf(w, `{"initialized":true,"sealed":%v,"version":"1.20.0"}`, sealed)
		case r.Header.Get("X-Vault-Token") != token:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"errors":["permission denied"]}`)
		default:
			fmt.Fprint(w, `{"data":{"ttl":3600,"renewable":false}}`)
		}
	}))
	t.Cleanup(web.Close)
	return web.URL
}

func TestDoctorLooksAtServices(t *testing.T) {
	t.Parallel()
	const vault = "vault: {address: %q, token_env: VAULT_TOKEN}"
	closed := "http://" + apptest.FreeAddress(t)
	open := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(open.Close)
	tests := []struct {
		name   string
		config string
		env    map[string]string
		what   string
		status doctor.Status
		want   string
	}{
		{name: "no Vault", what: "vault", status: doctor.Skipped, want: `not configured`},
		{
			name: "a token that ends soon", config: fmt.Sprintf(vault, vaultStandIn(t, "hvs.right", false)), env: map[string]string{"VAULT_TOKEN": "hvs.right"},
			what: "vault", status: doctor.Warning, want: `Vault 1.20.0 .* takes the token, which ends on .*→ make a new token`,
		},
		{
			name: "a token that is refused", config: fmt.Sprintf(vault, vaultStandIn(t, "hvs.right", false)), env: map[string]string{"VAULT_TOKEN": "hvs.wrong"},
			what: "vault", status: doctor.Failed, want: `403: permission denied → see vault.address`,
		},
		{
			name: "sealed", config: fmt.Sprintf(vault, vaultStandIn(t, "hvs.right", true)), env: map[string]string{"VAULT_TOKEN": "hvs.right"},
			what: "vault", status: doctor.Failed, want: `sealed → unseal it`,
		},
		{
			name: "no server", config: fmt.Sprintf(vault, closed), env: map[string]string{"VAULT_TOKEN": "hvs.right"},
			what: "vault", status: doctor.Failed, want: `connection refused`,
		},
		{name: "no traces", what: "traces", status: doctor.Skipped, want: `off`},
		{name: "a receiver", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": open.URL}, what: "traces", status: doctor.OK, want: `is open`},
		{name: "no receiver", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": closed}, what: "traces", status: doctor.Warning, want: `connection refused.*jobs run without it`},
		{name: "another protocol", env: map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, what: "traces", status: doctor.Failed, want: `OTEL_TRACES_EXPORTER.*does not start`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, _ := apptest.StandInRig(t)
			maps.Copy(r.Env, tt.env)
			text := apptest.Plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: \"\"}}", t.TempDir()), tt.config)
			apptest.MustFind(t, apptest.Examine(t, r, text), "services", tt.what, tt.status, tt.want)
		})
	}
}

func TestDoctorWithoutJetStreamAndWithoutACluster(t *testing.T) {
	t.Parallel()
	r, _ := apptest.StandInRig(t)
	off := apptest.StartNATS(t, func(o *server.Options) { o.JetStream = false })
	found := apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{url: %q}", off.ClientURL()), ""))
	apptest.MustFind(t, found, "nats", "jetstream", doctor.Failed, `is off.*→ turn it on`)
	apptest.MustFind(t, found, "streams", "REKEY_EVENTS and others", doctor.Skipped, `no responders`)
	on := apptest.StartNATS(t, nil)
	found = apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{url: %q, replicas: 3}", on.ClientURL()), ""))
	apptest.MustFind(t, found, "streams", "copies", doctor.Failed, `in no cluster.*→ set nats.replicas: 1`)
}

func TestDoctorChecksCertificates(t *testing.T) {
	t.Parallel()
	r, _ := apptest.StandInRig(t)
	login := apptest.LoginWithCertificate(t)
	srv := apptest.StartNATS(t, login.Server)
	r.Cfg.NATS.URL = srv.ClientURL()
	login.Worker(&r.Cfg.NATS)
	tls := r.Cfg.NATS.TLS
	nats := func(ca string) string {
		return fmt.Sprintf("{url: %q, tls: {ca_file: %s, cert_file: %s, key_file: %s}}", srv.ClientURL(), ca, tls.CertFile, tls.KeyFile)
	}
	found := apptest.Examine(t, r, apptest.Plain(r, nats(tls.CAFile), ""))
	apptest.MustFind(t, found, "nats", "server", doctor.OK, `encrypted`)
	apptest.MustFind(t, found, "secrets", "nats.tls.cert_file", doctor.Warning, `in 0 days → renew the certificate`)
	found = apptest.Examine(t, r, apptest.Plain(r, nats(apptest.NewAuthority(t).File), ""))
	apptest.MustFind(t, found, "nats", "server", doctor.Failed, `x509.*→ compare nats.url`)
}

func TestDoctorTellsOfAPausedSchedule(t *testing.T) {
	t.Parallel()
	r, _ := apptest.StandInRig(t)
	srv := apptest.StartNATS(t, nil)
	r.Cfg.NATS.URL = srv.ClientURL()
	w := r.Launch(t)
	w.AwaitReady()
	client := w.Operator()
	defer client.Close()
	op := schedule.Operation{At: time.Now().UTC(), Action: schedule.ActionPause, By: "jo", Reason: "holidays"}
	if _, err := client.PauseSchedule(t.Context(), "keys", op); err != nil {
		t.Fatal(err)
	}
	found := apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{url: %q}", srv.ClientURL()), schedules))
	apptest.MustFind(t, found, "streams", "schedule keys", doctor.Warning, `paused since .* by jo: holidays → worker schedule resume keys`)
}

func TestDoctorLooksAtTheStore(t *testing.T) {
	t.Parallel()
	r, _ := apptest.StandInRig(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	found := apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: \"\"}}", file), ""))
	apptest.MustFind(t, found, "nats", "store", doctor.Failed, `it is not a folder → let nats.embedded.store_dir`)
	// A worker whose server listens nowhere is recognised by its lock.
	r.Cfg.NATS.Embedded.Listen = ""
	w := r.Launch(t)
	w.AwaitReady()
	found = apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: \"\"}}", r.Cfg.NATS.Embedded.StoreDir), ""))
	apptest.MustFind(t, found, "nats", "store", doctor.OK, `in use by a running worker`)
	apptest.MustFind(t, found, "nats", "server", doctor.Skipped, `kept inside its process`)
	if strings.Contains(fmt.Sprint(found), "no worker runs") {
		t.Error("the doctor says that no worker runs")
	}
}

func TestDoctorLooksAtDoors(t *testing.T) {
	t.Parallel()
	r, _ := apptest.StandInRig(t)
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) }))
	defer keys.Close()
	r.Env["GOOD"], r.Env["BAD"] = "k3y-"+apptest.Canary(), "nokey-"+apptest.Canary()
	text := apptest.Plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: \"\"}}", t.TempDir()), fmt.Sprintf(`api:
  listen: %s
  doors:
    - {name: good, type: github, secret_env: GOOD}
    - {name: same, type: pagerduty, secret_env: GOOD}
    - {name: bad, type: standard_webhooks, secret_env: BAD}
    - {name: none, type: bearer, token_env: NOWHERE}
    - {name: idp, type: caep, issuer: "https://idp.example.com", audience: a, jwks_url: "%s"}
`, apptest.FreeAddress(t), keys.URL))
	found := apptest.Examine(t, r, text)
	apptest.MustFind(t, found, "secrets", "door good", doctor.OK, `github: it can verify what is posted`)
	apptest.MustFind(t, found, "secrets", "door same", doctor.Warning, `a secret of door good`)
	apptest.MustFind(t, found, "secrets", "door bad", doctor.Failed, `must begin with whsec_.*worker door test bad`)
	apptest.MustFind(t, found, "secrets", "door none", doctor.Failed, `it is not set`)
	apptest.MustFind(t, found, "secrets", "door idp", doctor.Failed, `no RSA key of at least 2048 bits`)
	apptest.MustFind(t, found, "ports", "api.listen", doctor.OK, `free`)
	apptest.Canaries{"key": r.Env["GOOD"], "bad key": r.Env["BAD"]}.Search(t, "the doctor", apptest.Encoded(found))
}

func TestDoctorLooksAtTargets(t *testing.T) {
	t.Parallel()
	r, _ := apptest.StandInRig(t)
	hook := apptest.NewHook(t, nil)
	r.Env["HERE"] = hook.URL + "/" + apptest.Canary()
	r.Env["GOOD"], r.Env["BAD"], r.Env["SIGN"] = "https://"+apptest.FreeAddress(t)+"/"+apptest.Canary(), "http://hooks.example.com/"+apptest.Canary(), "secret-"+apptest.Canary()
	text := apptest.Plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: \"\"}}", t.TempDir()), `receivers:
  - {name: good, type: slack, url_env: GOOD}
  - {name: bad, type: webhook, url_env: BAD, signing_secret_env: SIGN}
  - {name: none, type: webhook, url_env: NOWHERE}
  - {name: here, type: webhook, url_env: HERE}
`)
	found := apptest.Examine(t, r, text)
	apptest.MustFind(t, found, "services", "receiver good", doctor.Warning, `connection refused → correct what is in the environment variable GOOD`)
	apptest.MustFind(t, found, "services", "receiver bad", doctor.Skipped, `among the secrets`)
	apptest.MustFind(t, found, "services", "receiver here", doctor.OK, `nothing was sent`)
	if n := len(hook.Requests()); n != 0 {
		t.Errorf("the receiver got %d requests, want never", n)
	}
	apptest.MustFind(t, found, "secrets", "receiver good", doctor.OK, `slack: its address and secrets can be used`)
	apptest.MustFind(t, found, "secrets", "receiver bad", doctor.Failed, `must begin with https://.*must begin with whsec_.*worker receiver test bad`)
	apptest.MustFind(t, found, "secrets", "receiver none", doctor.Failed, `it is not set`)
	apptest.Canaries{"address": r.Env["GOOD"], "address here": r.Env["HERE"], "bad address": r.Env["BAD"], "signing secret": r.Env["SIGN"]}.Search(t, "the doctor", apptest.Encoded(found))
}

// TestAPI: the port, the certificate and the clients' tokens.
func TestAPI(t *testing.T) {
	t.Parallel()
	rig, _ := apptest.StandInRig(t)
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, other := apptest.NewAuthority(t).Issue(t, "127.0.0.1"), apptest.NewAuthority(t).Issue(t, "127.0.0.1")
	long := "a-token-that-cannot-be-guessed"
	text := func(address, key string) string {
		return apptest.Plain(rig, "", fmt.Sprintf(`
api:
  listen: %q
  tls: {cert_file: %q, key_file: %q}
  clients:
    - {name: soar, token_file: %q, may: [submit]}
    - {name: twin, token_file: %q, may: [read]}
    - {name: short, token_file: %q, may: [read]}
    - {name: gone, token_file: %q, may: [read]}
`, address, cert.CertFile, key, file("soar", long), file("twin", long), file("short", "short"), filepath.Join(dir, "gone")))
	}
	found := apptest.Examine(t, rig, text("127.0.0.1:0", cert.KeyFile))
	apptest.MustFind(t, found, "ports", "api.listen", doctor.OK, `any free port`)
	apptest.MustFind(t, found, "ports", "api client soar", doctor.OK, `soar`)
	apptest.MustFind(t, found, "ports", "api client twin", doctor.Failed, `same token as soar`)
	apptest.MustFind(t, found, "ports", "api client short", doctor.Warning, `could be guessed`)
	apptest.MustFind(t, found, "secrets", "api.clients[3].token_file", doctor.Failed, `no such file`)
	found = apptest.Examine(t, rig, text("127.0.0.1:0", other.KeyFile))
	apptest.MustFind(t, found, "secrets", "api.tls.cert_file", doctor.Failed, `private key does not match`)
	// A worker that runs.
	rig.Cfg.API = config.API{Listen: "127.0.0.1:0", TLS: config.APITLS{CertFile: cert.CertFile, KeyFile: cert.KeyFile}, Clients: []config.APIClient{
		{Name: "soar", Token: secret.Ref{File: filepath.Join(dir, "soar")}, May: []config.Permission{config.MaySubmit}},
	}}
	w := rig.Start(t)
	found = apptest.Examine(t, rig, text(w.API, cert.KeyFile))
	apptest.MustFind(t, found, "ports", "api.listen", doctor.OK, `held by a running worker`)
}
