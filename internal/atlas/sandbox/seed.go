package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Names of the roles that matter to the operations of the sandbox. Any other name can be given
// too and allows reading only.
const (
	RoleOrgOwner     = "ORG_OWNER"
	RoleOrgReadOnly  = "ORG_READ_ONLY"
	RoleProjectOwner = "GROUP_OWNER"

	// RoleDatabaseAccessAdmin is enough for database users, and RoleProjectAccessManager for the people in a project.
	RoleDatabaseAccessAdmin  = "GROUP_DATABASE_ACCESS_ADMIN"
	RoleProjectAccessManager = "GROUP_ACCESS_MANAGER"
)

// Seed is the world that a sandbox starts with. It holds no secrets: those are in
// Config.Secrets.
type Seed struct {
	ServiceAccounts []ServiceAccount
	APIKeys         []APIKey
	Federations     []Federation
	Projects        []Project
	Users           []User
	MCPConfigs      []MCPConfig
}

// ServiceAccount authenticates with OAuth 2.0 client credentials.
type ServiceAccount struct {
	// ClientID is "mdb_sa_id_" and 24 hexadecimal digits.
	ClientID string
	Name     string
	Roles    []Role
	// SecretIDs are the ids of its secrets, at most two. Empty: one secret with an id that is made up.
	SecretIDs []string
}

// APIKey authenticates with HTTP Digest.
type APIKey struct {
	// PublicKey is the user name, usually 8 lower-case letters.
	PublicKey string
	// ID is 24 hexadecimal digits. Empty: it is made up.
	ID    string
	Name  string
	Roles []Role
	// List are the blocks of addresses that it may call from. Empty: from everywhere, and the API does not show when it was last used.
	List []string
}

// Role is one role in one organization or one project. Exactly one of the ids is set.
type Role struct {
	Name      string
	OrgID     string
	ProjectID string
}

// Federation connects organizations with identity providers.
type Federation struct {
	ID                string
	IdentityProviders []IdentityProvider
	Organizations     []ConnectedOrg
}

// IdentityProvider is an identity provider of a federation.
type IdentityProvider struct {
	ID   string
	Name string
	// Protocol is ProtocolOIDC, also when empty, or ProtocolSAML; Type is TypeWorkforce, also when empty, or TypeWorkload.
	Protocol, Type string
	// Issuer, Audience and ClientID are made up of the name where they are empty. SAML has no audience, and only an OIDC workforce a client.
	Issuer, Audience, ClientID string
}

func (p IdentityProvider) withDefaults() IdentityProvider {
	p.Protocol, p.Type = cmp.Or(p.Protocol, ProtocolOIDC), cmp.Or(p.Type, TypeWorkforce)
	p.Issuer = cmp.Or(p.Issuer, "https://"+p.Name+".idp.example.com")
	if p.Protocol == ProtocolOIDC {
		p.Audience = cmp.Or(p.Audience, "atlas-"+p.Name)
		if p.Type == TypeWorkforce {
			p.ClientID = cmp.Or(p.ClientID, "client-"+p.Name)
		}
	}
	return p
}

// ConnectedOrg is an organization that is connected to a federation.
type ConnectedOrg struct {
	OrgID string
	// IdentityProviderIDs are those that the organization uses. While it does, they cannot be deleted.
	IdentityProviderIDs []string
	RoleMappings        []RoleMapping
}

// RoleMapping gives roles to a group of an identity provider.
type RoleMapping struct {
	ID            string
	ExternalGroup string
	// Roles are those that it gives. Empty: reading in the organization.
	Roles []Role
}

func (m RoleMapping) withDefaults(orgID string) RoleMapping {
	if len(m.Roles) == 0 {
		m.Roles = []Role{{Name: RoleOrgReadOnly, OrgID: orgID}}
	}
	return m
}

// Project is an Atlas project, which the API also calls a group.
type Project struct {
	ID    string
	OrgID string
	// CustomerX509 says whether customer-managed X.509 is on.
	CustomerX509  bool
	DatabaseUsers []DatabaseAccount
	// Certificates are when those end that the API made for database users in $external, by the names of these.
	Certificates map[string][]time.Time
	// Clusters are its databases. Nil: one that is called Cluster0.
	Clusters []Cluster
}

// Cluster is a database of a project.
type Cluster struct {
	Name string
	// Flex says that it is a flex cluster.
	Flex bool
}

// DatabaseAccount is a database user of a project.
type DatabaseAccount struct{ Username, Database string }

// MCPConfig is a configuration of Atlas's remote MCP server. Exactly one of OrgID and ProjectID is set.
type MCPConfig struct {
	ID, OrgID, ProjectID string
	// Ends are when its secrets end, at most two. The zero time: 90 days after the start.
	Ends []time.Time
}

// User is a person of an organization, and of some of its projects.
type User struct {
	ID, Username, OrgID string
	ProjectIDs          []string
}

// idLength is the length of an Atlas id in hexadecimal digits.
const idLength = 24

// maxSecrets is how many secrets a service account can have.
const maxSecrets = 2

// clientIDPrefix begins every client id of a service account.
const clientIDPrefix = "mdb_sa_id_"

// validID says whether id is 24 lower-case hexadecimal digits.
func validID(id string) bool {
	return len(id) == idLength && strings.Trim(id, "0123456789abcdef") == ""
}

// validClientID says whether id matches ^mdb_sa_id_[a-fA-F\d]{24}$.
func validClientID(id string) bool {
	digits, ok := strings.CutPrefix(id, clientIDPrefix)
	return ok && validID(strings.ToLower(digits))
}

// checker collects the mistakes of a seed, so that all are reported at once.
type checker struct {
	seen map[string]bool
	errs []error
}

// validate reports every mistake in the seed.
func (s Seed) validate() error {
	c := &checker{seen: map[string]bool{}}
	c.accounts(s)
	for _, f := range s.Federations {
		c.federation(f)
	}
	for _, p := range s.Projects {
		c.id("project", p.ID)
		c.hex("organization of project "+p.ID, p.OrgID)
	}
	for _, u := range s.Users {
		c.id("user", u.ID)
		c.hex("organization of user "+u.ID, u.OrgID)
	}
	for _, m := range s.MCPConfigs {
		c.id("MCP configuration", m.ID)
		if (m.OrgID == "") == (m.ProjectID == "") || len(m.Ends) > maxSecrets {
			c.errorf("MCP configuration %s: it needs an organization or a project, and not both, and has %d secrets at most", m.ID, maxSecrets)
		}
	}
	return errors.Join(c.errs...)
}

func (c *checker) accounts(s Seed) {
	for _, a := range s.ServiceAccounts {
		if !validClientID(a.ClientID) {
			c.errorf("service account %q: the client id is not mdb_sa_id_ and 24 hexadecimal digits", a.ClientID)
		}
		c.unique("service account", a.ClientID)
		c.roles(a.ClientID, a.Roles)
		for _, id := range a.SecretIDs {
			c.id("secret", id)
		}
		if len(a.SecretIDs) > maxSecrets {
			c.errorf("service account %s: it has more than %d secrets", a.ClientID, maxSecrets)
		}
	}
	for _, k := range s.APIKeys {
		if k.PublicKey == "" || strings.ContainsAny(k.PublicKey, "\":\\") {
			c.errorf("API key %q: the public key is empty or has a quote, colon or backslash", k.PublicKey)
		}
		c.unique("API key", k.PublicKey)
		if k.ID != "" {
			c.id("API key", k.ID)
		}
		c.roles(k.PublicKey, k.Roles)
		for _, block := range k.List {
			if _, err := netip.ParsePrefix(block); err != nil {
				c.errorf("API key %q: %q is no block of addresses", k.PublicKey, block)
			}
		}
	}
}

func (c *checker) federation(f Federation) {
	c.id("federation", f.ID)
	for _, p := range f.IdentityProviders {
		c.id("identity provider", p.ID)
	}
	for _, o := range f.Organizations {
		c.hex("connected organization", o.OrgID)
		c.unique("organization in federation "+f.ID, o.OrgID)
		for _, m := range o.RoleMappings {
			c.id("role mapping", m.ID)
		}
		for _, id := range o.IdentityProviderIDs {
			if !slices.ContainsFunc(f.IdentityProviders, func(p IdentityProvider) bool { return p.ID == id }) {
				c.errorf("organization %s uses identity provider %q, which is not in federation %s", o.OrgID, id, f.ID)
			}
		}
	}
}

func (c *checker) roles(account string, roles []Role) {
	for _, r := range roles {
		if (r.OrgID == "") == (r.ProjectID == "") {
			c.errorf("account %s: role %q needs an organization or a project, and not both", account, r.Name)
			continue
		}
		c.hex("role of account "+account, r.OrgID+r.ProjectID)
	}
}

func (c *checker) id(what, id string) {
	c.hex(what, id)
	c.unique(what, id)
}

func (c *checker) hex(what, id string) {
	if !validID(id) {
		c.errorf("%s: %q is not 24 lower-case hexadecimal digits", what, id)
	}
}

func (c *checker) unique(what, id string) {
	key := what + "\x00" + id
	if c.seen[key] {
		c.errorf("%s %q is there twice", what, id)
	}
	c.seen[key] = true
}

func (c *checker) errorf(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}
