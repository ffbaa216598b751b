package rotate_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/icholy/digest"

	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// subject is something that is rotated in the sandbox: the tests of the steps run for each.
type subject struct {
	kind    jobs.Kind
	subject string
	first   string // The id of the credential that is there first.
	create  string // The operation of making another one.
	remove  string // As above, of deleting one.
	used    string // As above, of using one.
	usedBy  string // Whose uses those are that may go unnoticed; empty: all.

	ids    func(box *sandbox.Sandbox) []string
	value  func(box *sandbox.Sandbox, id string) string // Of the credential with an id, as stores have it.
	works  func(box *sandbox.Sandbox, value string) bool
	use    func(box *sandbox.Sandbox, value string) bool
	delete func(box *sandbox.Sandbox, id string) int // As others do; the status.
}

// eachSubject runs a test for each kind of credential.
func eachSubject(t *testing.T, test func(t *testing.T, what subject)) {
	t.Helper()
	t.Parallel()
	for _, what := range []subject{secrets(), keys()} {
		t.Run(string(what.kind), func(t *testing.T) {
			t.Parallel()
			test(t, what)
		})
	}
}

// secrets are those of a service account.
func secrets() subject {
	return subject{
		kind: kinds.ServiceAccountSecretRotate, subject: sandbox.RotatedClientID, first: sandbox.RotatedSecretID,
		create: sandbox.OperationServiceAccountSecretCreate, remove: sandbox.OperationServiceAccountSecretDelete, used: sandbox.OperationToken, usedBy: sandbox.RotatedClientID,
		ids: func(box *sandbox.Sandbox) []string {
			accounts := box.State().Accounts
			return accounts[slices.IndexFunc(accounts, func(a sandbox.AccountState) bool { return a.ID == sandbox.RotatedClientID })].SecretIDs
		},
		value: func(box *sandbox.Sandbox, id string) string {
			value, _ := box.Secret(id)
			return value
		},
		works: func(box *sandbox.Sandbox, value string) bool { return box.Works(sandbox.RotatedClientID, value) },
		use: func(box *sandbox.Sandbox, value string) bool {
			req := httptest.NewRequest(http.MethodPost, "/api/oauth/token", strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
			req.SetBasicAuth(sandbox.RotatedClientID, value)
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			box.ServeHTTP(w, req)
			return w.Code == http.StatusOK
		},
		delete: func(box *sandbox.Sandbox, id string) int {
			return deleteAt(box, "/serviceAccounts/"+sandbox.RotatedClientID+"/secrets/"+id, "2024-08-05")
		},
	}
}

// keys are the API keys of an organization that are neither that of the worker nor the one that leaked.
func keys() subject {
	each := func(box *sandbox.Sandbox) []sandbox.AccountState {
		return slices.DeleteFunc(box.State().Accounts, func(a sandbox.AccountState) bool {
			return a.APIKeyID == "" || a.ID == sandbox.PublicKey || a.ID == sandbox.LeakedPublicKey
		})
	}
	return subject{
		kind: kinds.APIKeyRotate, subject: sandbox.RotatedAPIKeyID, first: sandbox.RotatedAPIKeyID,
		create: sandbox.OperationAPIKeyCreate, remove: sandbox.OperationAPIKeyDelete, used: sandbox.OperationRead,
		ids: func(box *sandbox.Sandbox) []string {
			var ids []string
			for _, a := range each(box) {
				ids = append(ids, a.APIKeyID)
			}
			return ids
		},
		value: func(box *sandbox.Sandbox, id string) string {
			for _, a := range each(box) {
				if a.APIKeyID == id {
					private, _ := box.Secret(a.ID)
					return a.ID + ":" + private
				}
			}
			return ""
		},
		works: func(box *sandbox.Sandbox, value string) bool {
			public, private, _ := strings.Cut(value, ":")
			return box.Works(public, private)
		},
		use: func(box *sandbox.Sandbox, value string) bool {
			public, private, _ := strings.Cut(value, ":")
			req := httptest.NewRequest(http.MethodGet, "/api/atlas/v2", http.NoBody)
			req.Header.Set("Accept", "application/vnd.atlas.2023-01-01+json")
			client := digest.Transport{Username: public, Password: private, Transport: direct{box}, NoReuse: true}
			response, err := client.RoundTrip(req)
			return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
		},
		delete: func(box *sandbox.Sandbox, id string) int { return deleteAt(box, "/apiKeys/"+id, "2023-01-01") },
	}
}

// direct brings requests to a sandbox.
type direct struct{ box *sandbox.Sandbox }

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(req *http.Request) (response *http.Response, err error) {
	defer func() {
		if cut := recover(); cut != nil {
			err = errors.New("connection reset")
		}
	}()
	w := httptest.NewRecorder()
	d.box.ServeHTTP(w, req)
	response = w.Result()
	response.Request = req
	return response, nil
}

// deleteAt deletes something of the organization, as others do.
func deleteAt(box *sandbox.Sandbox, path, version string) int {
	req := httptest.NewRequest(http.MethodDelete, "/api/atlas/v2/orgs/"+sandbox.OrgID+path, http.NoBody)
	req.Header.Set("Authorization", "Bearer "+box.MintToken(sandbox.ClientID))
	req.Header.Set("Accept", "application/vnd.atlas."+version+"+json")
	w := httptest.NewRecorder()
	box.ServeHTTP(w, req)
	return w.Code
}
