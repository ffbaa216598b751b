package clients_test

import (
	"fmt"
	"net/http"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/doctor"
)

// TestDoctorReadsWatched: what is watched is read, and what is gone, has expired or cannot be read is a failure.
func TestDoctorReadsWatched(t *testing.T) {
	t.Parallel()
	r, s := apptest.StandInRig(t)
	s.Script("/databaseUsers/CN=late/certs", apptest.JSONReply(http.StatusOK, `{"results":[{"notAfter":"2090-01-01T00:00:00Z"},{"notAfter":"2080-01-01T00:00:00Z"}]}`).Always())
	s.Script("/databaseUsers/CN=none/certs", apptest.JSONReply(http.StatusOK, `{"results":[]}`).Always())
	s.Script("/databaseUsers/CN=other/certs", apptest.Problem(http.StatusForbidden, "USER_UNAUTHORIZED").Always())
	s.Script("/mcpConfigs/two/secrets", apptest.JSONReply(http.StatusOK, `{"results":[{"expiresAt":"2090-01-01T00:00:00Z"},{"expiresAt":"2020-01-01T00:00:00Z"}]}`).Always())
	s.Script("/mcpConfigs/old/secrets", apptest.JSONReply(http.StatusOK, `{"results":[{"expiresAt":"2020-01-01T00:00:00Z"}]}`).Always())
	watch := "expiry:\n  watch:\n"
	for _, name := range []string{"late", "none", "other"} {
		watch += fmt.Sprintf("    - {name: %s, account: security, project_id: %q, username: CN=%s}\n", name, apptest.HexID(1), name)
	}
	for _, name := range []string{"two", "old"} {
		watch += fmt.Sprintf("    - {name: %s, account: security, org_id: %q, mcp_config_id: %s}\n", name, apptest.HexID(1), name)
	}
	found := apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: \"\"}}", t.TempDir()), watch))
	apptest.MustFind(t, found, "accounts", "security: certificate late expires", doctor.OK, `until 2090-01-01`)
	apptest.MustFind(t, found, "accounts", "security: certificate none expires", doctor.Failed, `lists none.*→ make a new certificate`)
	apptest.MustFind(t, found, "accounts", "security: certificate other expires", doctor.Failed, `403.*→ correct expiry.watch`)
	apptest.MustFind(t, found, "accounts", "security: secret of MCP configuration two expires", doctor.OK, `until 2090-01-01`)
	apptest.MustFind(t, found, "accounts", "security: secret of MCP configuration old expires", doctor.Failed, `ended on 2020-01-01.*→ make a new secret`)
}
