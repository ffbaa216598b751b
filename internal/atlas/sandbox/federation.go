package sandbox

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// Path templates of federations.
const (
	pathOrgFederation = "/api/atlas/v2/orgs/{orgId}/federationSettings"
	pathIDPs          = "/api/atlas/v2/federationSettings/{federationSettingsId}/identityProviders"
	pathIDP           = pathIDPs + "/{identityProviderId}"
	pathJWKS          = pathIDP + "/jwks"
	pathRoleMappings  = "/api/atlas/v2/federationSettings/{federationSettingsId}/connectedOrgConfigs/{orgId}/roleMappings"
	pathRoleMapping   = pathRoleMappings + "/{id}"
)

// Protocols and types of identity providers. A list without a filter has the first of each only.
const (
	ProtocolSAML = "SAML"
	ProtocolOIDC = "OIDC"

	TypeWorkforce = "WORKFORCE"
	TypeWorkload  = "WORKLOAD"
)

// federation connects organizations with identity providers.
type federation struct {
	idps map[string]*identityProvider
	orgs map[string]*connectedOrg
}

type identityProvider struct {
	IdentityProvider

	revocations int
	revokedAt   time.Time
}

type connectedOrg struct {
	idps     []string
	mappings map[string]RoleMapping
}

func newFederation(seed Federation) *federation {
	f := &federation{idps: map[string]*identityProvider{}, orgs: map[string]*connectedOrg{}}
	for _, p := range seed.IdentityProviders {
		f.idps[p.ID] = &identityProvider{IdentityProvider: p.withDefaults()}
	}
	for _, o := range seed.Organizations {
		org := &connectedOrg{idps: slices.Clone(o.IdentityProviderIDs), mappings: map[string]RoleMapping{}}
		for _, m := range o.RoleMappings {
			org.mappings[m.ID] = m.withDefaults(o.OrgID)
		}
		f.orgs[o.OrgID] = org
	}
	return f
}

// users lists the organizations that use the identity provider.
func (f *federation) users(idp string) []string {
	var orgs []string
	for id, org := range f.orgs {
		if slices.Contains(org.idps, idp) {
			orgs = append(orgs, id)
		}
	}
	slices.Sort(orgs)
	return orgs
}

// federationRoutes returns the table of federations. Reads draw on the buckets of what changes the same.
func (s *Sandbox) federationRoutes() []route {
	account, org := perAccount(BucketFederationUser), per(paramOrg, BucketFederationOrg)
	return []route{
		reading(pathOrgFederation, org, s.readOrgFederation, "2023-01-01"),
		reading(pathIDPs, account, s.listIdentityProviders, "2023-01-01", "2023-11-15"),
		reading(pathIDP, account, s.readIdentityProvider, "2023-11-15", "2025-03-12"),
		on(OperationIDPDelete, http.MethodDelete, pathIDP, account, s.deleteIdentityProvider, "2023-11-15", "2025-03-12"),
		on(OperationJWKSRevoke, http.MethodDelete, pathJWKS, account, s.revokeJWKS, "2023-11-15", "2025-02-19"),
		reading(pathRoleMappings, org, s.listRoleMappings, "2023-01-01", "2024-10-23"),
		reading(pathRoleMapping, org, s.readRoleMapping, "2023-01-01", "2024-10-23"),
		on(OperationRoleMappingDelete, http.MethodDelete, pathRoleMapping, org, s.deleteRoleMapping, "2023-01-01", "2024-10-23"),
	}
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

// federation returns the federation that the path names, when the caller owns one of its
// organizations.
func (s *Sandbox) federation(c *call) (*federation, answer, bool) {
	id := c.params[paramFederation]
	f := s.world.federations[id]
	switch {
	case f == nil:
		return nil, c.missing("federation settings", id), false
	case !c.account.ownsAny(f):
		return nil, c.unauthorized(), false
	}
	return f, answer{}, true
}

// identityProvider returns the identity provider that the path names, with its federation, when
// both are there and the caller may see them.
func (s *Sandbox) identityProvider(c *call) (*federation, *identityProvider, answer, bool) {
	f, refusal, ok := s.federation(c)
	if !ok {
		return nil, nil, refusal, false
	}
	id := c.params[paramIDP]
	p := f.idps[id]
	if p == nil {
		return nil, nil, c.missing("identity provider", id), false
	}
	return f, p, answer{}, true
}

// idpDocument is an identity provider as the API shows it. Its updatedAt is always null, as it was in every answer of Atlas that
// was seen.
type idpDocument struct {
	named
	LegacyID    *string                `json:"oktaIdpId"`
	DisplayName string                 `json:"displayName"`
	Protocol    string                 `json:"protocol"`
	Type        string                 `json:"idpType"`
	Issuer      string                 `json:"issuerUri"`
	Audience    string                 `json:"audience,omitempty"`
	ClientID    string                 `json:"clientId,omitempty"`
	Status      string                 `json:"status,omitempty"`
	UpdatedAt   *time.Time             `json:"updatedAt"`
	Orgs        []connectedOrgDocument `json:"associatedOrgs"`
	Domains     []string               `json:"associatedDomains"`
}

// connectedOrgDocument is an organization that an identity provider serves.
type connectedOrgDocument struct {
	OrgID string `json:"orgId"`
}

func (f *federation) document(id string) idpDocument {
	p := f.idps[id]
	d := idpDocument{
		named: named{id}, DisplayName: p.Name, Protocol: p.Protocol, Type: p.Type, Issuer: p.Issuer, Audience: p.Audience,
		ClientID: p.ClientID, Orgs: []connectedOrgDocument{}, Domains: []string{},
	}
	if p.Protocol == ProtocolSAML {
		legacy := madeID("legacy id of " + id)[:20]
		d.LegacyID, d.Status = &legacy, "ACTIVE"
	}
	for _, org := range f.users(id) {
		d.Orgs = append(d.Orgs, connectedOrgDocument{OrgID: org})
	}
	return d
}

// listIdentityProviders answers GET …/identityProviders, with the filters protocol and idpType.
func (s *Sandbox) listIdentityProviders(c *call) answer {
	f, refusal, ok := s.federation(c)
	if !ok {
		return refusal
	}
	wanted := func(name, usual string) []string {
		if given := c.request.URL.Query()[name]; len(given) > 0 {
			return given
		}
		return []string{usual}
	}
	protocols, types := wanted("protocol", ProtocolSAML), wanted("idpType", TypeWorkforce)
	list := []idpDocument{}
	for _, id := range slices.Sorted(maps.Keys(f.idps)) {
		if d := f.document(id); slices.Contains(protocols, d.Protocol) && slices.Contains(types, d.Type) {
			list = append(list, d)
		}
	}
	return page(c, list)
}

// readIdentityProvider answers GET …/identityProviders/{identityProviderId}.
func (s *Sandbox) readIdentityProvider(c *call) answer {
	f, _, refusal, ok := s.identityProvider(c)
	if !ok {
		return refusal
	}
	return c.document(http.StatusOK, f.document(c.params[paramIDP]))
}

// inAll is an entry in the log of each organization of the federation.
func (f *federation) inAll(kind string) []entry {
	var list []entry
	for _, org := range slices.Sorted(maps.Keys(f.orgs)) {
		list = append(list, entry{kind: kind, orgID: org})
	}
	return list
}

// revokeJWKS answers DELETE …/identityProviders/{identityProviderId}/jwks.
func (s *Sandbox) revokeJWKS(c *call) answer {
	f, p, refusal, ok := s.identityProvider(c)
	if !ok {
		return refusal
	}
	s.alter(c, change{says: f.inAll("IDENTITY_PROVIDER_JWKS_REVOKED"), do: func(at time.Time) {
		p.revocations++
		p.revokedAt = at
	}})
	return c.empty(http.StatusNoContent)
}

// deleteIdentityProvider answers DELETE …/identityProviders/{identityProviderId}.
func (s *Sandbox) deleteIdentityProvider(c *call) answer {
	f, p, refusal, ok := s.identityProvider(c)
	if !ok {
		return refusal
	}
	id := c.params[paramIDP]
	if users := f.users(id); len(users) > 0 {
		return c.refuse(http.StatusConflict, "IDENTITY_PROVIDER_HAS_CONNECTED_ORGS",
			fmt.Sprintf("Identity provider %s has %d connected organizations and cannot be deleted.", id, len(users)), id)
	}
	s.alter(c, change{
		do:   func(time.Time) { delete(f.idps, id) },
		says: f.inAll("IDENTITY_PROVIDER_DELETED"),
		undo: func(at time.Time) {
			again := *p
			again.ID = restoredID(id, at)
			f.idps[again.ID] = &again
		},
		back: f.inAll("IDENTITY_PROVIDER_CREATED"),
	})
	return c.empty(http.StatusNoContent)
}

// roleMappings returns the organization whose role mappings the path names, when it is there and the caller owns it.
func (s *Sandbox) roleMappings(c *call) (*connectedOrg, answer, bool) {
	federationID, orgID := c.params[paramFederation], c.params[paramOrg]
	f := s.world.federations[federationID]
	if f == nil {
		return nil, c.missing("federation settings", federationID), false
	}
	org := f.orgs[orgID]
	if org == nil {
		return nil, c.missing("connected organization", orgID), false
	}
	if !c.account.ownsOrg(orgID) {
		return nil, c.unauthorized(), false
	}
	return org, answer{}, true
}

// roleMapping returns the role mapping that the path names, with its organization.
func (s *Sandbox) roleMapping(c *call) (*connectedOrg, RoleMapping, answer, bool) {
	org, refusal, ok := s.roleMappings(c)
	if !ok {
		return nil, RoleMapping{}, refusal, false
	}
	id := c.params[paramRoleMapping]
	m, there := org.mappings[id]
	if !there {
		return nil, RoleMapping{}, c.missing("role mapping", id), false
	}
	return org, m, answer{}, true
}

// mappingDocument is a role mapping as the API shows it.
type mappingDocument struct {
	named
	ExternalGroup string               `json:"externalGroupName"`
	Assignments   []assignmentDocument `json:"roleAssignments"`
}

// assignmentDocument is one role that a mapping gives, in an organization or a project.
type assignmentDocument struct {
	OrgID     string `json:"orgId,omitempty"`
	ProjectID string `json:"groupId,omitempty"`
	Role      string `json:"role"`
}

func (m RoleMapping) document(id string) mappingDocument {
	return mappingDocument{named{id}, m.ExternalGroup, assignments(m.Roles)}
}

// listRoleMappings answers GET …/roleMappings.
func (s *Sandbox) listRoleMappings(c *call) answer {
	org, refusal, ok := s.roleMappings(c)
	if !ok {
		return refusal
	}
	list := []mappingDocument{}
	for _, id := range slices.Sorted(maps.Keys(org.mappings)) {
		list = append(list, org.mappings[id].document(id))
	}
	return page(c, list)
}

// readRoleMapping answers GET …/roleMappings/{id}.
func (s *Sandbox) readRoleMapping(c *call) answer {
	_, m, refusal, ok := s.roleMapping(c)
	if !ok {
		return refusal
	}
	return c.document(http.StatusOK, m.document(c.params[paramRoleMapping]))
}

// deleteRoleMapping answers DELETE …/connectedOrgConfigs/{orgId}/roleMappings/{id}.
func (s *Sandbox) deleteRoleMapping(c *call) answer {
	org, m, refusal, ok := s.roleMapping(c)
	if !ok {
		return refusal
	}
	id, orgID := c.params[paramRoleMapping], c.params[paramOrg]
	s.alter(c, change{
		do:   func(time.Time) { delete(org.mappings, id) },
		says: []entry{{kind: "ROLE_MAPPING_DELETED", orgID: orgID}},
		undo: func(at time.Time) { org.mappings[restoredID(id, at)] = m },
		back: []entry{{kind: "ROLE_MAPPING_CREATED", orgID: orgID}},
	})
	return c.empty(http.StatusNoContent)
}
