package sandbox

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Kinds of account.
const (
	kindServiceAccount = "service_account"
	kindAPIKey         = "api_key"
)

// account is a service account or an API key.
type account struct {
	id, kind, secret string
	roles            []Role
}

// world is what the operations change. The lock of the Sandbox guards it.
type world struct {
	accounts    map[string]*account
	federations map[string]*federation
	projects    map[string]*project
}

type federation struct {
	idps map[string]*identityProvider
	orgs map[string]*connectedOrg
}

type identityProvider struct {
	name        string
	revocations int
	revokedAt   time.Time
}

type connectedOrg struct {
	idps     []string
	mappings map[string]string // From id to external group.
}

type project struct {
	orgID        string
	customerX509 bool
	restarts     int
}

func newWorld(seed Seed, accounts map[string]*account) *world {
	w := &world{accounts: accounts, federations: map[string]*federation{}, projects: map[string]*project{}}
	for _, f := range seed.Federations {
		w.federations[f.ID] = newFederation(f)
	}
	for _, p := range seed.Projects {
		w.projects[p.ID] = &project{orgID: p.OrgID, customerX509: p.CustomerX509}
	}
	return w
}

func newFederation(seed Federation) *federation {
	f := &federation{idps: map[string]*identityProvider{}, orgs: map[string]*connectedOrg{}}
	for _, p := range seed.IdentityProviders {
		f.idps[p.ID] = &identityProvider{name: p.Name}
	}
	for _, o := range seed.Organizations {
		org := &connectedOrg{idps: slices.Clone(o.IdentityProviderIDs), mappings: map[string]string{}}
		for _, m := range o.RoleMappings {
			org.mappings[m.ID] = m.ExternalGroup
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

// reads says whether the account has any role in the organization or the project.
func (a *account) reads(orgID, projectID string) bool {
	return slices.ContainsFunc(a.roles, func(r Role) bool {
		return r.OrgID != "" && r.OrgID == orgID || r.ProjectID != "" && r.ProjectID == projectID
	})
}

// State is a sandbox's world at one moment, without secrets. Lists are in the order of ids.
type State struct {
	Accounts    []AccountState    `json:"accounts"`
	Federations []FederationState `json:"federations"`
	Projects    []ProjectState    `json:"projects"`
	// Faults are those that have not been used up, in the order in which they apply.
	Faults []Fault `json:"faults"`
}

// AccountState is what became of an account.
type AccountState struct {
	ID string `json:"id"`
	// Kind is service_account or api_key.
	Kind string `json:"kind"`
	// LiveTokens is how many bearer tokens work now.
	LiveTokens int `json:"live_tokens"`
}

// FederationState is what is left of a federation.
type FederationState struct {
	ID                string                  `json:"id"`
	IdentityProviders []IdentityProviderState `json:"identity_providers"`
	RoleMappings      []RoleMappingState      `json:"role_mappings"`
}

// IdentityProviderState is an identity provider that has not been deleted.
type IdentityProviderState struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Organizations are those that use it.
	Organizations []string `json:"organizations"`
	// JWKSRevocations counts how often its keys were revoked. Each revocation invalidates the
	// database access tokens that were signed before.
	JWKSRevocations int `json:"jwks_revocations"`
	// JWKSRevokedAt is the moment of the last revocation, zero for none.
	JWKSRevokedAt time.Time `json:"jwks_revoked_at,omitzero"`
}

// RoleMappingState is a role mapping that has not been deleted.
type RoleMappingState struct {
	ID            string `json:"id"`
	OrgID         string `json:"org_id"`
	ExternalGroup string `json:"external_group"`
}

// ProjectState is what became of a project.
type ProjectState struct {
	ID           string `json:"id"`
	OrgID        string `json:"org_id"`
	CustomerX509 bool   `json:"customer_x509"`
	// Restarts counts the rolling restarts that disabling X.509 has started: at most one.
	Restarts int `json:"restarts"`
}

// State returns the world as it is now.
func (s *Sandbox) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	state := State{Accounts: []AccountState{}, Federations: []FederationState{}, Projects: []ProjectState{}, Faults: s.faults.list()}
	for _, id := range slices.Sorted(maps.Keys(s.world.accounts)) {
		state.Accounts = append(state.Accounts, AccountState{
			ID: id, Kind: s.world.accounts[id].kind, LiveTokens: s.tokens.live(id, now),
		})
	}
	for _, id := range slices.Sorted(maps.Keys(s.world.federations)) {
		state.Federations = append(state.Federations, s.world.federations[id].state(id))
	}
	for _, id := range slices.Sorted(maps.Keys(s.world.projects)) {
		p := s.world.projects[id]
		state.Projects = append(state.Projects, ProjectState{
			ID: id, OrgID: p.orgID, CustomerX509: p.customerX509, Restarts: p.restarts,
		})
	}
	return state
}

func (f *federation) state(id string) FederationState {
	state := FederationState{ID: id, IdentityProviders: []IdentityProviderState{}, RoleMappings: []RoleMappingState{}}
	for _, id := range slices.Sorted(maps.Keys(f.idps)) {
		p := f.idps[id]
		state.IdentityProviders = append(state.IdentityProviders, IdentityProviderState{
			ID: id, Name: p.name, Organizations: append([]string{}, f.users(id)...),
			JWKSRevocations: p.revocations, JWKSRevokedAt: p.revokedAt,
		})
	}
	for orgID, org := range f.orgs {
		for id, group := range org.mappings {
			state.RoleMappings = append(state.RoleMappings, RoleMappingState{ID: id, OrgID: orgID, ExternalGroup: group})
		}
	}
	slices.SortFunc(state.RoleMappings, func(a, b RoleMappingState) int { return strings.Compare(a.ID, b.ID) })
	return state
}
