package atlas_test

import (
	"io"
	"net/http"
	"testing"

	"rekey/internal/atlas"
	"rekey/internal/kinds"
)

func TestX509v10(t *testing.T) {
	var got string
	cfg := config(transportFunc(func(req *http.Request) (*http.Response, error) {
		got = req.Method + " " + req.URL.Path + " " + req.Header.Get("Accept")
		return reply(202, "{}"), nil
	}))
	cfg.X509API = atlas.X509APIv10
	revokeWorks(t, newClient(t, cfg), job(t, kinds.X509Disable, "key"))
	if want := "DELETE /api/atlas/v1.0/groups/" + idA + "/userSecurity/customerX509 application/json"; got != want {
		t.Errorf("the request is %s, want %s", got, want)
	}
}

func TestTokenRevokeRequest(t *testing.T) {
	c := newClient(t, config(transportFunc(func(req *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		id, password, _ := req.BasicAuth()
		if id != clientID || password != "canary%2Fclient%2Bsecret%3D0" {
			t.Error("the header Authorization is not Basic with the form-encoded id and secret")
		}
		if want := "token=" + revokedToken + "&token_type_hint=access_token"; string(body) != want {
			t.Error("the form is not token and token_type_hint")
		}
		if got := req.Header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
			t.Errorf("Content-Type %q", got)
		}
		return reply(200, ""), nil
	})))
	revokeWorks(t, c, job(t, kinds.TokenRevoke, "service"))
}
