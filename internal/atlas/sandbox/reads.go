package sandbox

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// OperationRead looks at what the other operations change.
const OperationRead = "read"

// Path templates of what can only be read.
const (
	pathUserSecurity   = "/api/atlas/v2/groups/{groupId}/userSecurity"
	pathUserSecurityV1 = "/api/atlas/v1.0/groups/{groupId}/userSecurity"
	pathOrgs           = "/api/atlas/v2/orgs"
	pathOrgFederation  = "/api/atlas/v2/orgs/{orgId}/federationSettings"
	pathProject        = "/api/atlas/v2/groups/{groupId}"
	pathClusters       = pathProject + "/clusters"
	pathFlexClusters   = pathProject + "/flexClusters"
	pathDatabaseUsers  = pathProject + "/databaseUsers"
	pathAccountGroups  = pathOrgAccount + "/groups"
)

// readRoutes returns the table of what can be read, which draws on the buckets of what changes it.
func (s *Sandbox) readRoutes(always func(string) func(*call) string, caller func(*call) string, named func(string) func(*call) string) []route {
	return []route{
		{
			operation: OperationRead, method: http.MethodGet, path: pathIDP,
			versions: []string{"2023-11-15", "2025-03-12"}, bucket: always(BucketFederationUser), entity: caller, act: s.readIdentityProvider,
		},
		{
			operation: OperationRead, method: http.MethodGet, path: pathRoleMapping,
			versions: []string{"2023-01-01", "2024-10-23"}, bucket: always(BucketFederationOrg), entity: named(paramOrg), act: s.readRoleMapping,
		},
		{
			operation: OperationRead, method: http.MethodGet, path: pathUserSecurity,
			versions: []string{"2023-01-01"}, bucket: always(BucketX509), entity: named(paramProject), act: s.readUserSecurity,
		},
		{operation: OperationRead, method: http.MethodGet, path: pathUserSecurityV1, act: s.readUserSecurity},
		{operation: OperationRead, method: http.MethodGet, path: pathProject, versions: []string{"2023-01-01"}, act: s.readProject},
		{operation: OperationRead, method: http.MethodGet, path: pathClusters, versions: []string{"2024-08-05"}, act: s.listClusters("Cluster0")},
		{operation: OperationRead, method: http.MethodGet, path: pathFlexClusters, versions: []string{"2024-11-13"}, act: s.listClusters()},
		{operation: OperationRead, method: http.MethodGet, path: pathDatabaseUsers, versions: []string{"2023-01-01"}, act: s.listDatabaseUsers},
		{operation: OperationRead, method: http.MethodGet, path: pathAccountGroups, versions: []string{"2024-08-05"}, act: s.listAccountProjects},
		{operation: OperationRead, method: http.MethodGet, path: pathOrgs, versions: []string{"2023-01-01"}, act: s.listOrgs},
		{
			operation: OperationRead, method: http.MethodGet, path: pathOrgFederation,
			versions: []string{"2023-01-01"}, bucket: always(BucketFederationOrg), entity: named(paramOrg), act: s.readOrgFederation,
		},
	}
}

// named is a document that says no more than which object it is.
type named struct {
	ID string `json:"id"`
}

// readIdentityProvider answers GET …/identityProviders/{identityProviderId}.
func (s *Sandbox) readIdentityProvider(c *call) answer {
	f, p, refusal, ok := s.identityProvider(c)
	if !ok {
		return refusal
	}
	id := c.params[paramIDP]
	orgs := []connectedOrgDocument{}
	for _, org := range f.users(id) {
		orgs = append(orgs, connectedOrgDocument{OrgID: org})
	}
	return c.document(http.StatusOK, struct {
		named
		DisplayName string                 `json:"displayName"`
		Protocol    string                 `json:"protocol"`
		Type        string                 `json:"idpType"`
		Orgs        []connectedOrgDocument `json:"associatedOrgs"`
		Domains     []string               `json:"associatedDomains"`
	}{named{id}, p.name, "OIDC", "WORKFORCE", orgs, []string{}})
}

// connectedOrgDocument is an organization that an identity provider serves.
type connectedOrgDocument struct {
	OrgID string `json:"orgId"`
}

// readProject answers GET /api/atlas/v2/groups/{groupId}.
func (s *Sandbox) readProject(c *call) answer {
	p, refusal, ok := s.project(c)
	if !ok {
		return refusal
	}
	id := c.params[paramProject]
	return c.document(http.StatusOK, struct {
		named
		Name  string `json:"name"`
		OrgID string `json:"orgId"`
	}{named{id}, "project " + id[len(id)-2:], p.orgID})
}

// listClusters answers GET …/groups/{groupId}/clusters, and flexClusters: every project has the same.
func (s *Sandbox) listClusters(clusters ...string) func(*call) answer {
	type cluster struct {
		Name  string `json:"name"`
		State string `json:"stateName"`
	}
	return func(c *call) answer {
		if _, refusal, ok := s.project(c); !ok {
			return refusal
		}
		list := []cluster{}
		for _, name := range clusters {
			list = append(list, cluster{name, "IDLE"})
		}
		return page(c, list)
	}
}

// listDatabaseUsers answers GET …/groups/{groupId}/databaseUsers.
func (s *Sandbox) listDatabaseUsers(c *call) answer {
	p, refusal, ok := s.project(c)
	if !ok {
		return refusal
	}
	type listed struct {
		databaseUserDocument
		X509 string `json:"x509Type"`
	}
	list := []listed{}
	for name := range p.users {
		one := listed{databaseUserDocument{name.username, name.database, c.params[paramProject]}, "NONE"}
		if strings.HasPrefix(name.username, "CN=") {
			one.X509 = "CUSTOMER"
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b listed) int { return strings.Compare(a.Username+a.Database, b.Username+b.Database) })
	return page(c, list)
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

// readRoleMapping answers GET …/roleMappings/{id}.
func (s *Sandbox) readRoleMapping(c *call) answer {
	if _, refusal, ok := s.roleMapping(c); !ok {
		return refusal
	}
	return c.document(http.StatusOK, named{ID: c.params[paramRoleMapping]})
}

// listOrgs answers GET /api/atlas/v2/orgs with the organizations in which the caller has any role.
func (s *Sandbox) listOrgs(c *call) answer {
	list := []named{}
	for _, role := range c.account.roles {
		if org := (named{ID: role.OrgID}); role.OrgID != "" && !slices.Contains(list, org) {
			list = append(list, org)
		}
	}
	return c.document(http.StatusOK, struct {
		Results    []named `json:"results"`
		TotalCount int     `json:"totalCount"`
	}{list, len(list)})
}

// readOrgFederation answers GET …/orgs/{orgId}/federationSettings, which is for owners.
func (s *Sandbox) readOrgFederation(c *call) answer {
	id := c.params[paramOrg]
	if !c.account.ownsOrg(id) {
		return c.unauthorized()
	}
	for _, federationID := range slices.Sorted(maps.Keys(s.world.federations)) {
		if s.world.federations[federationID].orgs[id] != nil {
			return c.document(http.StatusOK, named{ID: federationID})
		}
	}
	return c.missing("federation settings of organization", id)
}

// readUserSecurity answers GET …/userSecurity.
func (s *Sandbox) readUserSecurity(c *call) answer {
	if _, refusal, ok := s.project(c); !ok {
		return refusal
	}
	return c.document(http.StatusOK, userSecurity{})
}
