package doctor_test

import (
	"fmt"
	"net/http"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/doctor"
)

// TestDoctorReadsCertificates: what is watched is read, and a certificate that is gone or cannot be read is a failure.
func TestDoctorReadsCertificates(t *testing.T) {
	t.Parallel()
	r, s := apptest.StandInRig(t)
	s.Script("/databaseUsers/CN=late/certs", apptest.JSONReply(http.StatusOK, `{"results":[{"notAfter":"2090-01-01T00:00:00Z"},{"notAfter":"2080-01-01T00:00:00Z"}]}`).Always())
	s.Script("/databaseUsers/CN=none/certs", apptest.JSONReply(http.StatusOK, `{"results":[]}`).Always())
	s.Script("/databaseUsers/CN=other/certs", apptest.Problem(http.StatusForbidden, "USER_UNAUTHORIZED").Always())
	watch := "expiry:\n  watch:\n"
	for _, name := range []string{"late", "none", "other"} {
		watch += fmt.Sprintf("    - {name: %s, account: security, project_id: %q, username: CN=%s}\n", name, apptest.HexID(1), name)
	}
	found := apptest.Examine(t, r, apptest.Plain(r, fmt.Sprintf("{embedded: {store_dir: %s, listen: \"\"}}", t.TempDir()), watch))
	apptest.MustFind(t, found, "accounts", "security: certificate late expires", doctor.OK, `until 2090-01-01`)
	apptest.MustFind(t, found, "accounts", "security: certificate none expires", doctor.Failed, `lists none.*→ make a new certificate`)
	apptest.MustFind(t, found, "accounts", "security: certificate other expires", doctor.Failed, `403.*→ correct expiry.watch`)
}
