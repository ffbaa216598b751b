package kinds

import (
	"slices"
	"time"
)

// Set is an endpoint set of the API: endpoints that share rate buckets.
type Set struct {
	// Name is what configuration, metrics and the shared state of the buckets call it.
	Name string
	// Scope says whose buckets they are.
	Scope Scope
	// Limit is what the vendor publishes for all customers, at its own hosts. The zero Limit: it differs between accounts.
	Limit Limit
	// Seen is the capacity that the vendor's answers have shown (RateLimit-Limit), for documents only: an account may have
	// another. Zero: none was seen.
	Seen int
}

// Scope says whose buckets an endpoint set has.
type Scope string

// The scopes.
const (
	ScopeAccount      Scope = "account"      // One bucket for each client id or public key.
	ScopeOrganization Scope = "organization" // One for each organization that jobs name.
	ScopeProject      Scope = "project"      // One for each project that jobs name.
	ScopeAddress      Scope = "address"      // One for the address from which the whole fleet calls.
)

// Limit is a token bucket: at most Capacity, and Refill more every Every.
type Limit struct {
	Capacity int
	Refill   int
	Every    time.Duration
}

// OAuthLimit is what the vendor publishes for each of its OAuth endpoints.
var OAuthLimit = Limit{Capacity: 10, Refill: 10, Every: time.Minute}

// Endpoint sets of several kinds.
var (
	// Federation is that of a federation's identity providers and their keys.
	Federation = Set{Name: "federation_account", Scope: ScopeAccount, Seen: 300}

	orgServiceAccounts     = Set{Name: "service_accounts_org", Scope: ScopeOrganization}
	projectServiceAccounts = Set{Name: "service_accounts_project", Scope: ScopeProject}
	orgAPIKeys             = Set{Name: "api_keys_org", Scope: ScopeOrganization, Seen: 500}
	projectAPIKeys         = Set{Name: "api_keys_project", Scope: ScopeProject}
	databaseUsers          = Set{Name: "database_users_project", Scope: ScopeProject, Seen: 10000}

	// OAuthToken is that of requests for a bearer token.
	OAuthToken = Set{Name: "oauth_token", Scope: ScopeAccount, Limit: OAuthLimit}
	// OAuthRevoke is that of revocations of bearer tokens.
	OAuthRevoke = Set{Name: "oauth_revoke", Scope: ScopeAccount, Limit: OAuthLimit}
	// System is that of reads which name no organization and no project.
	System = Set{Name: "system_account", Scope: ScopeAccount, Seen: 300}
	// EventsOrg and EventsProject are those of the API's event log.
	EventsOrg     = Set{Name: "events_org", Scope: ScopeOrganization, Seen: 500}
	EventsProject = Set{Name: "events_project", Scope: ScopeProject, Seen: 300}

	clustersProject = Set{Name: "clusters_project", Scope: ScopeProject, Seen: 10000}
)

// Sets are the endpoint sets of bearer tokens, of the calls of all kinds, and of their checks.
func Sets() []Set {
	list := []Set{OAuthToken}
	add := func(set Set) {
		if set.Name != "" && !slices.ContainsFunc(list, func(s Set) bool { return s.Name == set.Name }) {
			list = append(list, set)
		}
	}
	for _, k := range All() {
		for _, f := range k.Forms {
			add(f.Set)
		}
	}
	for _, k := range All() {
		for _, c := range k.Proof.Checks {
			add(c.Set)
		}
	}
	for _, k := range Rotating() {
		for _, set := range k.Rotates.Others {
			add(set)
		}
	}
	add(EventsOrg)
	add(EventsProject)
	return list
}

// Entity is the parameter that says whose bucket a call draws on; empty where parameters do not say.
func (s Scope) Entity() string {
	switch s {
	case ScopeOrganization:
		return ParamOrg
	case ScopeProject:
		return ParamProject
	case ScopeAccount, ScopeAddress:
	}
	return ""
}

// Role is a role at the vendor.
type Role struct {
	// Title is what the vendor calls it, with where it is needed.
	Title string
	// Place is where an account has it.
	Place Place
}

// Place is where a role is given.
type Place string

// The places.
const (
	Nowhere      Place = ""
	InProject    Place = "project"
	InOrg        Place = "organization"
	InFederation Place = "federation"
)

// Roles that several kinds need.
var (
	NoRole   = Role{Title: "none"}
	OrgOwner = Role{Title: "Organization Owner", Place: InOrg}
	// OrgMember and ProjectReadOnly are enough for reading the API's event log, and the latter for clusters.
	OrgMember       = Role{Title: "Organization Member", Place: InOrg}
	ProjectReadOnly = Role{Title: "Project Read Only", Place: InProject}
	ProjectOwner    = Role{Title: "Project Owner", Place: InProject}
	// DatabaseAccessAdmin is enough for the database users of a project.
	DatabaseAccessAdmin = Role{Title: "Project Database Access Admin", Place: InProject}
	// ProjectAccessManager is enough for the people in a project.
	ProjectAccessManager = Role{Title: "Project Access Manager", Place: InProject}
	ConnectedOwner       = Role{Title: "Organization Owner in a connected organization", Place: InFederation}
)
