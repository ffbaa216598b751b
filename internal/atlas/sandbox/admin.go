package sandbox

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// vendorType begins the media types of the Admin API. The version and "+json" follow.
const vendorType = "application/vnd.atlas."

// admin answers a call of the Admin API: who calls, how often, which version, and then the
// operation itself.
func (s *Sandbox) admin(c *call) answer {
	if refusal, refused := s.authenticate(c); refused {
		return refusal
	}
	if c.route.bucket != nil {
		t := s.buckets.take(c.route.bucket(c), c.route.entity(c), c.at)
		c.header.Set("RateLimit-Limit", strconv.Itoa(t.limit.Capacity))
		c.header.Set("RateLimit-Remaining", strconv.Itoa(t.remaining))
		if !t.ok {
			return c.rateLimited(t.limit, wholeSeconds(t.wait))
		}
	}
	if len(c.route.versions) > 0 {
		var ok bool
		if c.version, ok = c.route.version(acceptedDate(c.request.Header)); !ok {
			return c.refuse(http.StatusNotAcceptable, "INVALID_VERSION_DATE", "Invalid accept header or version date.")
		}
	}
	for param := range idParams() {
		if id, there := c.params[param]; there && !validID(id) {
			return c.malformedID(param, id)
		}
	}
	if id, there := c.params[paramClient]; there && !validClientID(id) {
		return c.refuse(http.StatusBadRequest, "INVALID_CLIENT_ID", "An invalid service account client ID was specified.")
	}
	return c.route.act(c)
}

// authenticate finds out whose call it is.
func (s *Sandbox) authenticate(c *call) (answer, bool) {
	switch authScheme(c.request) {
	case AuthBearer:
		_, value, _ := strings.Cut(c.request.Header.Get("Authorization"), " ")
		owner := s.tokens.owner(strings.TrimSpace(value), c.at)
		if owner == "" {
			// RFC 6750 section 3.1.
			c.header.Set("WWW-Authenticate", `Bearer realm="`+realm+`", error="invalid_token"`)
			return c.notAuthorized(), true
		}
		c.account = s.world.accounts[owner]
		return answer{}, false
	case AuthDigest:
		return s.digest(c)
	default:
		return s.challenge(c, false), true
	}
}

// acceptedDate returns the version date in the Accept header, or "" when there is none.
func acceptedDate(header http.Header) string {
	for mediaType := range strings.SplitSeq(strings.Join(header.Values("Accept"), ","), ",") {
		mediaType, _, _ = strings.Cut(mediaType, ";")
		date, vendor := strings.CutPrefix(strings.ToLower(strings.TrimSpace(mediaType)), vendorType)
		date, isJSON := strings.CutSuffix(date, "+json")
		if _, err := time.Parse(time.DateOnly, date); vendor && isJSON && err == nil {
			return date
		}
	}
	return ""
}

// rateLimited answers that a bucket is empty for so many seconds.
func (c *call) rateLimited(limit Bucket, seconds int) answer {
	c.header.Set("Retry-After", strconv.Itoa(seconds))
	path := strings.TrimPrefix(c.entry.Path, "/")
	every := wholeSeconds(limit.Every)
	detail := fmt.Sprintf("Rate limit exceeded for %s. Please retry after %d seconds. Request capacity: %d. Refill rate: %d per %d seconds.",
		path, seconds, limit.Capacity, limit.Refill, every)
	return c.refuse(http.StatusTooManyRequests, codeRateLimited, detail, path, seconds, limit.Capacity, limit.Refill, every)
}

// malformedID answers that an id is not 24 hexadecimal digits.
func (c *call) malformedID(param, id string) answer {
	what := idParams()[param]
	code := "INVALID_" + strings.ToUpper(strings.ReplaceAll(what, " ", "_")) + "_ID"
	if param == paramOrg {
		code = "INVALID_ORG_ID"
	}
	id = id[:min(len(id), maxPath)]
	return c.refuse(http.StatusBadRequest, code, fmt.Sprintf("An invalid %s ID %s was specified.", what, id), id)
}

// idParams are the parameters that are 24 hexadecimal digits, with what they name.
func idParams() map[string]string {
	return map[string]string{
		paramFederation: "federation settings", paramOrg: "organization", paramProject: "group", paramIDP: "identity provider",
		paramRoleMapping: "role mapping", paramSecret: "secret", paramAPIKey: "API user", paramUserID: "user",
	}
}

// missing answers that there is no such thing as a path names.
func (c *call) missing(what, id string) answer {
	return c.refuse(http.StatusNotFound, codeNotFound, fmt.Sprintf("Cannot find resource %s %s.", what, id), id)
}

// missingProject answers that there is no such project.
func (c *call) missingProject(id string) answer {
	return c.refuse(http.StatusNotFound, "GROUP_NOT_FOUND", fmt.Sprintf("No group with ID %s exists.", id), id)
}

// unauthorized answers that the caller lacks a role. Atlas sends 401 for it, not 403.
func (c *call) unauthorized() answer {
	return c.refuse(http.StatusUnauthorized, "USER_UNAUTHORIZED", "Current user is not authorized to perform this action.")
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

// revokeJWKS answers DELETE …/identityProviders/{identityProviderId}/jwks.
func (s *Sandbox) revokeJWKS(c *call) answer {
	_, p, refusal, ok := s.identityProvider(c)
	if !ok {
		return refusal
	}
	p.revocations++
	p.revokedAt = c.at
	return c.empty(http.StatusNoContent)
}

// deleteIdentityProvider answers DELETE …/identityProviders/{identityProviderId}.
func (s *Sandbox) deleteIdentityProvider(c *call) answer {
	f, _, refusal, ok := s.identityProvider(c)
	if !ok {
		return refusal
	}
	id := c.params[paramIDP]
	if users := f.users(id); len(users) > 0 {
		return c.refuse(http.StatusConflict, "IDENTITY_PROVIDER_HAS_CONNECTED_ORGS",
			fmt.Sprintf("Identity provider %s has %d connected organizations and cannot be deleted.", id, len(users)), id)
	}
	delete(f.idps, id)
	return c.empty(http.StatusNoContent)
}

// deleteRoleMapping answers DELETE …/connectedOrgConfigs/{orgId}/roleMappings/{id}.
func (s *Sandbox) deleteRoleMapping(c *call) answer {
	org, refusal, ok := s.roleMapping(c)
	if !ok {
		return refusal
	}
	delete(org.mappings, c.params[paramRoleMapping])
	return c.empty(http.StatusNoContent)
}

// roleMapping returns the organization of the role mapping that the path names, when it is there
// and the caller owns the organization.
func (s *Sandbox) roleMapping(c *call) (*connectedOrg, answer, bool) {
	federationID, orgID, id := c.params[paramFederation], c.params[paramOrg], c.params[paramRoleMapping]
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
	if _, there := org.mappings[id]; !there {
		return nil, c.missing("role mapping", id), false
	}
	return org, answer{}, true
}

// userSecurity is Atlas's user-security document after customer-managed X.509 was disabled.
type userSecurity struct {
	CustomerX509 struct{} `json:"customerX509"`
	LDAP         struct {
		AuthenticationEnabled bool `json:"authenticationEnabled"`
		AuthorizationEnabled  bool `json:"authorizationEnabled"`
	} `json:"ldap"`
}

// disableX509 answers DELETE …/groups/{groupId}/userSecurity/customerX509 on either path.
func (s *Sandbox) disableX509(c *call) answer {
	p, refusal, ok := s.project(c)
	if !ok {
		return refusal
	}
	if p.customerX509 {
		p.customerX509 = false
		p.restarts++
	}
	return c.document(http.StatusAccepted, userSecurity{})
}

// project returns the project that the path names, when it is there and the caller owns it.
func (s *Sandbox) project(c *call) (*project, answer, bool) {
	id := c.params[paramProject]
	p := s.world.projects[id]
	switch {
	case p == nil:
		return nil, c.missingProject(id), false
	case !c.account.ownsProject(id, p):
		return nil, c.unauthorized(), false
	}
	return p, answer{}, true
}
