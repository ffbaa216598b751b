package clients_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/config"
	"rekey/internal/doctor"
	"rekey/internal/secret"
)

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
