package sandbox

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Path templates of service accounts and API keys.
const (
	pathOrgAccounts          = "/api/atlas/v2/orgs/{orgId}/serviceAccounts"
	pathOrgAccount           = pathOrgAccounts + "/{clientId}"
	pathOrgAccountSecret     = pathOrgAccount + "/secrets/{secretId}"
	pathProjectAccounts      = "/api/atlas/v2/groups/{groupId}/serviceAccounts"
	pathProjectAccount       = pathProjectAccounts + "/{clientId}"
	pathProjectAccountSecret = pathProjectAccount + "/secrets/{secretId}"
	pathAPIKeys              = "/api/atlas/v2/orgs/{orgId}/apiKeys"
	pathAPIKey               = pathAPIKeys + "/{apiUserId}"
)

// credentialRoutes returns the table of service accounts and API keys.
func (s *Sandbox) credentialRoutes(always func(string) func(*call) string, named func(string) func(*call) string) []route {
	var list []route
	add := func(operation, method, path, version, bucket, owner string, act func(*call) answer) {
		list = append(list, route{
			operation: operation, method: method, path: path, versions: []string{version},
			bucket: always(bucket), entity: named(owner), act: act,
		})
	}
	const version = "2024-08-05"
	for _, at := range []struct{ list, one, secret, bucket, owner string }{
		{pathOrgAccounts, pathOrgAccount, pathOrgAccountSecret, BucketServiceAccountsOrg, paramOrg},
		{pathProjectAccounts, pathProjectAccount, pathProjectAccountSecret, BucketServiceAccountsProject, paramProject},
	} {
		add(OperationRead, http.MethodGet, at.list, version, at.bucket, at.owner, s.listServiceAccounts)
		add(OperationRead, http.MethodGet, at.one, version, at.bucket, at.owner, s.readServiceAccount)
		add(OperationServiceAccountSecretDelete, http.MethodDelete, at.secret, version, at.bucket, at.owner, s.deleteServiceAccountSecret)
	}
	add(OperationServiceAccountDelete, http.MethodDelete, pathOrgAccount, version, BucketServiceAccountsOrg, paramOrg, s.deleteServiceAccount)
	add(OperationRead, http.MethodGet, pathAPIKeys, "2023-01-01", BucketAPIKeys, paramOrg, s.listAPIKeys)
	add(OperationRead, http.MethodGet, pathAPIKey, "2023-01-01", BucketAPIKeys, paramOrg, s.readAPIKey)
	add(OperationAPIKeyDelete, http.MethodDelete, pathAPIKey, "2023-01-01", BucketAPIKeys, paramOrg, s.deleteAPIKey)
	return list
}

// accountDocument is a service account as the API shows it.
type accountDocument struct {
	ClientID string           `json:"clientId"`
	Name     string           `json:"name"`
	Roles    []string         `json:"roles"`
	Secrets  []secretDocument `json:"secrets"`
}

// secretDocument is a secret of a service account without its value.
type secretDocument struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	Masked    string    `json:"maskedSecretValue"`
}

// keyDocument is an API key as the API shows it.
type keyDocument struct {
	ID          string   `json:"id"`
	Description string   `json:"desc"`
	PublicKey   string   `json:"publicKey"`
	PrivateKey  string   `json:"privateKey"` // Masked.
	Roles       []string `json:"roles"`
}

// mask hides a secret but for its prefix and its last four characters.
func mask(value string) string {
	head := ""
	if strings.HasPrefix(value, secretPrefix) {
		head = secretPrefix
	}
	return head + "********" + value[max(len(head), len(value)-4):]
}

func (a *account) document() accountDocument {
	d := accountDocument{ClientID: a.id, Name: a.name, Roles: a.roleNames(), Secrets: []secretDocument{}}
	for _, s := range a.secrets {
		d.Secrets = append(d.Secrets, secretDocument{ID: s.id, CreatedAt: s.createdAt, ExpiresAt: s.expiresAt, Masked: mask(s.value)})
	}
	return d
}

func (a *account) keyDocument() keyDocument {
	return keyDocument{ID: a.keyID, Description: a.name, PublicKey: a.id, PrivateKey: mask(a.secrets[0].value), Roles: a.roleNames()}
}

// members are the accounts of a sort in the organization or project that the path names, by id, when the caller may see them, or
// change them.
func (s *Sandbox) members(c *call, kind string, change bool) ([]*account, answer, bool) {
	orgID, projectID := c.params[paramOrg], c.params[paramProject]
	var may bool
	if projectID != "" {
		p := s.world.projects[projectID]
		if p == nil {
			return nil, c.missingProject(projectID), false
		}
		may = c.account.ownsProject(projectID, p) || !change && c.account.reads(p.orgID, projectID)
	} else {
		may = c.account.ownsOrg(orgID) || !change && c.account.reads(orgID, "")
	}
	if !may {
		return nil, c.unauthorized(), false
	}
	var list []*account
	for _, a := range s.world.sortedAccounts() {
		if a.kind == kind && (projectID != "" && a.reads("", projectID) || projectID == "" && s.world.orgOf(a) == orgID) {
			list = append(list, a)
		}
	}
	return list, answer{}, true
}

// member is the account that the path names.
func (s *Sandbox) member(c *call, kind string, change bool) (*account, answer, bool) {
	list, refusal, ok := s.members(c, kind, change)
	if !ok {
		return nil, refusal, false
	}
	id, what := c.params[paramClient], "service account"
	if kind == kindAPIKey {
		id, what = c.params[paramAPIKey], "API key"
	}
	for _, a := range list {
		if id == a.id && kind == kindServiceAccount || id == a.keyID && kind == kindAPIKey {
			return a, answer{}, true
		}
	}
	return nil, c.missing(what, id), false
}

// listServiceAccounts answers GET …/serviceAccounts.
func (s *Sandbox) listServiceAccounts(c *call) answer {
	list, refusal, ok := s.members(c, kindServiceAccount, false)
	if !ok {
		return refusal
	}
	documents := []accountDocument{}
	for _, a := range list {
		documents = append(documents, a.document())
	}
	return page(c, documents)
}

// readServiceAccount answers GET …/serviceAccounts/{clientId}.
func (s *Sandbox) readServiceAccount(c *call) answer {
	a, refusal, ok := s.member(c, kindServiceAccount, false)
	if !ok {
		return refusal
	}
	return c.document(http.StatusOK, a.document())
}

// deleteServiceAccountSecret answers DELETE …/serviceAccounts/{clientId}/secrets/{secretId}. The tokens that were made with it end.
func (s *Sandbox) deleteServiceAccountSecret(c *call) answer {
	a, refusal, ok := s.member(c, kindServiceAccount, true)
	if !ok {
		return refusal
	}
	id := c.params[paramSecret]
	at := slices.IndexFunc(a.secrets, func(s accountSecret) bool { return s.id == id })
	if at < 0 {
		return c.missing("secret", id)
	}
	a.secrets = slices.Delete(a.secrets, at, at+1)
	s.tokens.endAll(a.id, id)
	return c.empty(http.StatusNoContent)
}

// deleteServiceAccount answers DELETE …/serviceAccounts/{clientId}.
func (s *Sandbox) deleteServiceAccount(c *call) answer {
	a, refusal, ok := s.member(c, kindServiceAccount, true)
	if !ok {
		return refusal
	}
	delete(s.world.accounts, a.id)
	s.tokens.endAll(a.id, "")
	return c.empty(http.StatusNoContent)
}

// listAPIKeys answers GET …/apiKeys.
func (s *Sandbox) listAPIKeys(c *call) answer {
	list, refusal, ok := s.members(c, kindAPIKey, false)
	if !ok {
		return refusal
	}
	documents := []keyDocument{}
	for _, a := range list {
		documents = append(documents, a.keyDocument())
	}
	return page(c, documents)
}

// readAPIKey answers GET …/apiKeys/{apiUserId}.
func (s *Sandbox) readAPIKey(c *call) answer {
	a, refusal, ok := s.member(c, kindAPIKey, false)
	if !ok {
		return refusal
	}
	return c.document(http.StatusOK, a.keyDocument())
}

// deleteAPIKey answers DELETE …/apiKeys/{apiUserId}.
func (s *Sandbox) deleteAPIKey(c *call) answer {
	a, refusal, ok := s.member(c, kindAPIKey, true)
	if !ok {
		return refusal
	}
	delete(s.world.accounts, a.id)
	return c.empty(http.StatusNoContent)
}
