package clients_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/doctor"
)

// TestDoctorLooksAtStores: each store of a rotation is looked at, and what is wrong is said. Nothing is written.
func TestDoctorLooksAtStores(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("canary-of-the-pod"), 0o600); err != nil {
		t.Fatal(err)
	}
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.URL.Query().Get("dryRun") != "All" {
			t.Errorf("%s %s changes something", r.Method, r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/forbidden"):
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind":"Status","message":"secrets \"forbidden\" is forbidden"}`)
		default:
			fmt.Fprint(w, `{"kind":"Secret","metadata":{"resourceVersion":"7"},"data":{}}`)
		}
	}))
	t.Cleanup(cluster.Close)
	closed := "http://" + apptest.FreeAddress(t)
	secret := func(server, name string) string {
		return fmt.Sprintf("{type: kubernetes, namespace: ci, secret: %s, key: k, server: %q, token_file: %s}", name, server, token)
	}
	stores := []struct {
		config, name string
		status       doctor.Status
		want         string
	}{
		{"{type: file, path: " + dir + "/there}", "file " + dir + "/there", doctor.OK, `the folder can be written`},
		{"{type: file, path: " + dir + "/absent/secret}", "file " + dir + "/absent/secret", doctor.Failed, `no such file or directory → make the store reachable`},
		{secret(cluster.URL, "right"), "kubernetes ci/right#k", doctor.OK, `the Secret exists, and may be written`},
		{secret(cluster.URL, "forbidden"), "kubernetes ci/forbidden#k", doctor.Failed, `403.*is forbidden → .*the rights that docs/rotation\.md lists`},
		{secret(closed, "away"), "kubernetes ci/away#k", doctor.Failed, `connection refused → make the store reachable`},
		{"{type: vault, path: ci, field: secret}", "vault ci#secret", doctor.Failed, `403`},
	}
	var list []string
	for _, s := range stores {
		list = append(list, s.config)
	}
	r, _ := apptest.StandInRig(t)
	r.Env["VAULT_TOKEN"] = "hvs.wrong"
	text := apptest.Plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: \"\"}}", t.TempDir()), fmt.Sprintf(`vault: {address: %q, token_env: VAULT_TOKEN}
rotations:
  - {name: ci, account: security, org_id: "%s", client_id: mdb_sa_id_5ec0000000000000000000a6, deliver: [%s]}
`, vaultStandIn(t, "hvs.right", false), apptest.HexID(1), strings.Join(list, ", ")))
	found := apptest.Examine(t, r, text)
	for _, s := range stores {
		apptest.MustFind(t, found, "services", "rotation ci to "+s.name, s.status, s.want)
	}
	if left, err := filepath.Glob(dir + "/*"); err != nil || len(left) != 1 {
		t.Errorf("there is %v, error %v; want the token alone", left, err)
	}
}
