package sandbox

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Path templates of service accounts and API keys.
const (
	pathOrgAccounts          = "/api/atlas/v2/orgs/{orgId}/serviceAccounts"
	pathOrgAccount           = pathOrgAccounts + "/{clientId}"
	pathOrgAccountSecrets    = pathOrgAccount + "/secrets"
	pathOrgAccountSecret     = pathOrgAccountSecrets + "/{secretId}"
	pathAccountGroups        = pathOrgAccount + "/groups"
	pathProjectAccounts      = "/api/atlas/v2/groups/{groupId}/serviceAccounts"
	pathProjectAccount       = pathProjectAccounts + "/{clientId}"
	pathProjectSecrets       = pathProjectAccount + "/secrets"
	pathProjectAccountSecret = pathProjectSecrets + "/{secretId}"
	pathOrgSettings          = "/api/atlas/v2/orgs/{orgId}/settings"
	pathAPIKeys              = "/api/atlas/v2/orgs/{orgId}/apiKeys"
	pathAPIKey               = pathAPIKeys + "/{apiUserId}"
	pathAPIKeyList           = pathAPIKey + "/accessList"
	pathOrgMCPSecrets        = "/api/atlas/v2/orgs/{orgId}/mcpConfigs/{mcpConfigId}/secrets"
	pathProjectMCPSecrets    = "/api/atlas/v2/groups/{groupId}/mcpConfigs/{mcpConfigId}/secrets"
	pathProjectAPIKey        = "/api/atlas/v2/groups/{groupId}/apiKeys/{apiUserId}"
)

// Kinds of account.
const (
	kindServiceAccount = "service_account"
	kindAPIKey         = "api_key"
)

// account is a service account or an API key.
type account struct {
	id, kind, name string
	keyID          string      // Of an API key.
	list           []listEntry // As above: where it may call from; empty: from everywhere.
	roles          []Role
	secrets        []accountSecret // Of an API key: its private key.
}

// accountSecret is a secret of a service account, or the private key of an API key.
type accountSecret struct {
	id, value            string
	createdAt, expiresAt time.Time
	lastUsedAt           time.Time // When a token was last made with it; zero: never.
}

// ownsOrg says whether the account is an owner of the organization.
func (a *account) ownsOrg(id string) bool {
	return slices.Contains(a.roles, Role{Name: RoleOrgOwner, OrgID: id})
}

// ownsAny says whether the account is an owner of one of the federation's organizations.
func (a *account) ownsAny(f *federation) bool {
	for id := range f.orgs {
		if a.ownsOrg(id) {
			return true
		}
	}
	return false
}

// ownsProject says whether the account is an owner of the project or of its organization.
func (a *account) ownsProject(id string, p *project) bool {
	return a.ownsOrg(p.orgID) || slices.Contains(a.roles, Role{Name: RoleProjectOwner, ProjectID: id})
}

// has says whether the account has a role in a project.
func (a *account) has(role, projectID string) bool {
	return slices.Contains(a.roles, Role{Name: role, ProjectID: projectID})
}

// roleNames are the names of the account's roles.
func (a *account) roleNames() []string {
	names := []string{}
	for _, r := range a.roles {
		names = append(names, r.Name)
	}
	return names
}

// assignments are roles as the API shows them.
func assignments(roles []Role) []assignmentDocument {
	list := []assignmentDocument{}
	for _, r := range roles {
		list = append(list, assignmentDocument{OrgID: r.OrgID, ProjectID: r.ProjectID, Role: r.Name})
	}
	return list
}

// reads says whether the account has any role in the organization or the project.
func (a *account) reads(orgID, projectID string) bool {
	return slices.ContainsFunc(a.roles, func(r Role) bool {
		return r.OrgID != "" && r.OrgID == orgID || r.ProjectID != "" && r.ProjectID == projectID
	})
}

// credentialRoutes returns the table of service accounts and API keys.
func (s *Sandbox) credentialRoutes() []route {
	const version, versionKeys = "2024-08-05", "2023-01-01"
	org, project := per(paramOrg, BucketServiceAccountsOrg), per(paramProject, BucketServiceAccountsProject)
	var list []route
	for _, at := range []struct {
		list, one, kind, version string
		quota                    quota
	}{
		{pathOrgAccounts, pathOrgAccount, kindServiceAccount, version, org},
		{pathProjectAccounts, pathProjectAccount, kindServiceAccount, version, project},
		{pathAPIKeys, pathAPIKey, kindAPIKey, versionKeys, per(paramOrg, BucketAPIKeys)},
	} {
		list = append(list, reading(at.list, at.quota, s.listMembers(at.kind), at.version), reading(at.one, at.quota, s.readMember(at.kind), at.version))
	}
	list = append(list, s.secretRoutes(org, project, version)...)
	list = append(list, s.keyRoutes(versionKeys)...)
	return append(list,
		reading(pathAccountGroups, org, s.listAccountProjects, version),
		reading(pathOrgMCPSecrets, org, s.listMCPSecrets, "2025-03-12"),
		reading(pathProjectMCPSecrets, project, s.listMCPSecrets, "2025-03-12"),
		on(OperationServiceAccountDelete, http.MethodDelete, pathOrgAccount, org, s.deleteMember(kindServiceAccount), version),
		on(OperationAPIKeyDelete, http.MethodDelete, pathAPIKey, per(paramOrg, BucketAPIKeys), s.deleteMember(kindAPIKey), versionKeys))
}

// accountDocument is a service account as the API shows it.
type accountDocument struct {
	ClientID string           `json:"clientId"`
	Name     string           `json:"name"`
	Roles    []string         `json:"roles"`
	Secrets  []secretDocument `json:"secrets"`
}

// keyDocument is an API key as the API shows it.
type keyDocument struct {
	ID          string    `json:"id"`
	Description string    `json:"desc"`
	PublicKey   string    `json:"publicKey"`
	PrivateKey  string    `json:"privateKey"` // Masked, but in the answer that makes it.
	Roles       []keyRole `json:"roles"`
}

// keyRole is a role of an API key.
type keyRole struct {
	OrgID     string `json:"orgId,omitempty"`
	ProjectID string `json:"groupId,omitempty"`
	Name      string `json:"roleName"`
}

// keyDocument is an API key as the API shows it.
func (a *account) keyDocument() keyDocument {
	d := keyDocument{ID: a.keyID, Description: a.name, PublicKey: a.id, PrivateKey: mask(a.firstSecret()), Roles: []keyRole{}}
	for _, r := range a.roles {
		d.Roles = append(d.Roles, keyRole{r.OrgID, r.ProjectID, r.Name})
	}
	return d
}

// document is the account as the API shows it.
func (a *account) document() any {
	if a.kind == kindAPIKey {
		return a.keyDocument()
	}
	d := accountDocument{ClientID: a.id, Name: a.name, Roles: a.roleNames(), Secrets: []secretDocument{}}
	for _, s := range a.secrets {
		d.Secrets = append(d.Secrets, s.document())
	}
	return d
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

// listMembers answers GET …/serviceAccounts and …/apiKeys.
func (s *Sandbox) listMembers(kind string) func(*call) answer {
	return func(c *call) answer {
		list, refusal, ok := s.members(c, kind, false)
		if !ok {
			return refusal
		}
		documents := []any{}
		for _, a := range list {
			documents = append(documents, a.document())
		}
		return page(c, documents)
	}
}

// readMember answers GET …/serviceAccounts/{clientId} and …/apiKeys/{apiUserId}.
func (s *Sandbox) readMember(kind string) func(*call) answer {
	return func(c *call) answer {
		a, refusal, ok := s.member(c, kind, false)
		if !ok {
			return refusal
		}
		return c.document(http.StatusOK, a.document())
	}
}

// deleteMember answers DELETE …/serviceAccounts/{clientId} and …/apiKeys/{apiUserId}. The tokens of a service account end.
func (s *Sandbox) deleteMember(kind string) func(*call) answer {
	return func(c *call) answer {
		a, refusal, ok := s.member(c, kind, true)
		if !ok {
			return refusal
		}
		says := entry{kind: "SERVICE_ACCOUNT_DELETED", orgID: c.params[paramOrg]}
		if kind == kindAPIKey {
			says.kind, says.publicKey = "API_KEY_DELETED", a.id
		}
		s.alter(c, change{says: []entry{says}, do: func(time.Time) {
			delete(s.world.accounts, a.id)
			s.tokens.endAll(a.id, "")
		}})
		return c.empty(http.StatusNoContent)
	}
}

// listAccountProjects answers GET …/serviceAccounts/{clientId}/groups.
func (s *Sandbox) listAccountProjects(c *call) answer {
	a, refusal, ok := s.member(c, kindServiceAccount, false)
	if !ok {
		return refusal
	}
	type listed struct {
		ID    string   `json:"groupId"`
		Roles []string `json:"roles"`
	}
	list := []listed{}
	for _, r := range a.roles {
		if r.ProjectID != "" {
			list = append(list, listed{r.ProjectID, []string{r.Name}})
		}
	}
	return page(c, list)
}

// mcpConfig is an MCP configuration: where it is, and its secrets.
type mcpConfig struct {
	orgID, projectID string
	secrets          []accountSecret
}

// newMCPConfig makes the MCP configuration of a seed.
func newMCPConfig(seed MCPConfig, now time.Time) mcpConfig {
	m := mcpConfig{orgID: seed.OrgID, projectID: seed.ProjectID}
	for i, ends := range seed.Ends {
		if ends.IsZero() {
			ends = now.Add(secretLifetime)
		}
		m.secrets = append(m.secrets, accountSecret{
			id: madeID(fmt.Sprintf("secret %d of %s", i, seed.ID)), value: secretPrefix + rand.Text(), createdAt: now, expiresAt: ends,
		})
	}
	return m
}

// listMCPSecrets answers GET …/mcpConfigs/{mcpConfigId}/secrets. Secrets that have expired are listed until they are deleted.
func (s *Sandbox) listMCPSecrets(c *call) answer {
	orgID, projectID := c.params[paramOrg], c.params[paramProject]
	if projectID != "" {
		if _, refusal, ok := s.readableProject(c); !ok {
			return refusal
		}
	} else if !c.account.reads(orgID, "") {
		return c.unauthorized()
	}
	m, ok := s.world.mcpConfigs[c.params[paramMCPConfig]]
	if !ok || m.orgID != orgID || m.projectID != projectID {
		return c.missing("MCP configuration", c.params[paramMCPConfig])
	}
	list := []secretDocument{}
	for _, one := range m.secrets {
		list = append(list, one.document())
	}
	return page(c, list)
}
