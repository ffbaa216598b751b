package sandbox

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

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
	return errors.Join(c.errs...)
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
