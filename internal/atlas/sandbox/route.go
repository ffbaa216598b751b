package sandbox

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Operations, as Request.Operation and Fault.Operation name them.
const (
	OperationToken             = "token"
	OperationTokenRevoke       = "token.revoke"
	OperationJWKSRevoke        = "jwks.revoke"
	OperationIDPDelete         = "idp.delete"
	OperationRoleMappingDelete = "role_mapping.delete"
	OperationX509Disable       = "x509.disable"
	OperationRateLimits        = "rate_limits"

	OperationServiceAccountSecretDelete = "service_account_secret.delete"
	OperationServiceAccountDelete       = "service_account.delete"
	OperationAPIKeyDelete               = "api_key.delete"
	OperationDatabaseUserDelete         = "database_user.delete"
	OperationDatabaseUserScramble       = "database_user.scramble"
	OperationOrgUserRemove              = "org_user.remove"
	OperationProjectUserRemove          = "project_user.remove"

	// OperationRedirected is what a client calls that follows the redirect of a fault.
	OperationRedirected = "redirected"
	// OperationUnknown is anything that the sandbox does not know.
	OperationUnknown = "unknown"
	// OperationAny stands for every operation, in a Fault.
	OperationAny = "any"
)

// Path templates of the Admin API.
const (
	pathIDP         = "/api/atlas/v2/federationSettings/{federationSettingsId}/identityProviders/{identityProviderId}"
	pathJWKS        = pathIDP + "/jwks"
	pathRoleMapping = "/api/atlas/v2/federationSettings/{federationSettingsId}/connectedOrgConfigs/{orgId}/roleMappings/{id}"
	pathX509        = "/api/atlas/v2/groups/{groupId}/userSecurity/customerX509"
	pathX509V1      = "/api/atlas/v1.0/groups/{groupId}/userSecurity/customerX509"
	pathRateLimits  = "/api/atlas/v2/rateLimits"
)

// Names of path parameters.
const (
	paramFederation  = "federationSettingsId"
	paramIDP         = "identityProviderId"
	paramOrg         = "orgId"
	paramProject     = "groupId"
	paramRoleMapping = "id"
	paramClient      = "clientId"
	paramSecret      = "secretId"
	paramAPIKey      = "apiUserId"
	paramDatabase    = "databaseName"
	paramUserName    = "username"
	paramUserID      = "userId"
)

// route is one operation by one path.
type route struct {
	operation, method, path string
	// oauth says that the operation answers in the way of OAuth. The others are the Admin API.
	oauth bool
	// versions are the resource versions of the Admin API, oldest first. OAuth has none
	// and for v1.0.
	versions []string
	// bucket returns the name of the token bucket. Nil means no limit.
	bucket func(*call) string
	// entity returns whose bucket it is, once the account is known.
	entity func(*call) string
	// body says that the handler wants the body of a call of the Admin API.
	body bool
	// act does the work, with the lock held.
	act func(*call) answer
}

// newRoutes returns the table of what the sandbox answers.
func (s *Sandbox) newRoutes() []route {
	always := func(name string) func(*call) string { return func(*call) string { return name } }
	caller := func(c *call) string { return c.account.id }
	named := func(param string) func(*call) string {
		return func(c *call) string { return boundedID(c.params[param]) }
	}
	more := slices.Concat(s.readRoutes(always, caller, named), s.credentialRoutes(always, named), s.userRoutes(always, named))
	return append(more, []route{
		{operation: OperationToken, method: http.MethodPost, path: "/api/oauth/token", oauth: true, act: s.issueToken},
		{operation: OperationTokenRevoke, method: http.MethodPost, path: "/api/oauth/revoke", oauth: true, act: s.revokeToken},
		{
			operation: OperationJWKSRevoke, method: http.MethodDelete, path: pathJWKS,
			versions: []string{"2023-11-15", "2025-02-19"}, bucket: always(BucketFederationUser), entity: caller, act: s.revokeJWKS,
		},
		{
			operation: OperationIDPDelete, method: http.MethodDelete, path: pathIDP,
			versions: []string{"2023-11-15", "2025-03-12"}, bucket: always(BucketFederationUser), entity: caller, act: s.deleteIdentityProvider,
		},
		{
			operation: OperationRoleMappingDelete, method: http.MethodDelete, path: pathRoleMapping,
			versions: []string{"2023-01-01", "2024-10-23"}, bucket: always(BucketFederationOrg), entity: named(paramOrg), act: s.deleteRoleMapping,
		},
		{
			operation: OperationX509Disable, method: http.MethodDelete, path: pathX509,
			versions: []string{"2023-01-01"}, bucket: always(BucketX509), entity: named(paramProject), act: s.disableX509,
		},
		{operation: OperationX509Disable, method: http.MethodDelete, path: pathX509V1, act: s.disableX509},
		{
			operation: OperationRateLimits, method: http.MethodGet, path: pathRateLimits,
			versions: []string{"2025-03-12"}, bucket: rateLimitsBucket, entity: rateLimitsEntity, act: s.listRateLimits,
		},
	}...)
}

// operations lists what a fault can be for.
func operations() []string {
	return []string{
		OperationToken, OperationTokenRevoke, OperationJWKSRevoke, OperationIDPDelete,
		OperationRoleMappingDelete, OperationX509Disable, OperationServiceAccountSecretDelete, OperationServiceAccountDelete,
		OperationAPIKeyDelete, OperationDatabaseUserDelete, OperationDatabaseUserScramble, OperationOrgUserRemove,
		OperationProjectUserRemove, OperationRead, OperationRateLimits, OperationAny,
	}
}

// find returns the route of a request and its path parameters. When only the method is wrong, it
// returns the method that would be right.
func find(routes []route, method, path string) (found *route, params map[string]string, allow string) {
	for i := range routes {
		params, ok := match(routes[i].path, path)
		if !ok {
			continue
		}
		if routes[i].method == method {
			return &routes[i], params, ""
		}
		allow = routes[i].method
	}
	return nil, nil, allow
}

// match compares an escaped path with a template and returns the values of its parameters without escapes.
func match(template, path string) (map[string]string, bool) {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	params := map[string]string{}
	for i, segment := range want {
		name, isParam := strings.CutPrefix(segment, "{")
		switch {
		case isParam && got[i] != "":
			value, err := url.PathUnescape(got[i])
			if err != nil {
				return nil, false
			}
			params[strings.TrimSuffix(name, "}")] = value
		case segment != got[i]:
			return nil, false
		}
	}
	return params, true
}

// version returns the newest of the route's versions that is not newer than the date, and false
// when there is none.
func (r *route) version(date string) (string, bool) {
	for _, v := range slices.Backward(r.versions) {
		if v <= date {
			return v, true
		}
	}
	return "", false
}

// boundedID returns the id, or one word for all that are malformed: a caller must not choose
// how long the keys of our maps are.
func boundedID(id string) string {
	if !validID(id) {
		return "malformed"
	}
	return id
}
