package sandbox

import (
	"io"
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

	OperationServiceAccountSecretCreate = "service_account_secret.create"
	OperationServiceAccountSecretDelete = "service_account_secret.delete"
	OperationServiceAccountDelete       = "service_account.delete"
	OperationAPIKeyDelete               = "api_key.delete"
	OperationAPIKeyCreate               = "api_key.create"
	OperationAPIKeyAssign               = "api_key.assign" // To a project, with roles; or addresses to it.
	OperationDatabaseUserDelete         = "database_user.delete"
	OperationDatabaseUserScramble       = "database_user.scramble"
	OperationOrgUserRemove              = "org_user.remove"
	OperationProjectUserRemove          = "project_user.remove"

	// OperationRead looks at what the other operations change.
	OperationRead = "read"

	// OperationRedirected is what a client calls that follows the redirect of a fault.
	OperationRedirected = "redirected"
	// OperationUnknown is anything that the sandbox does not know.
	OperationUnknown = "unknown"
	// OperationAny stands for every operation, in a Fault.
	OperationAny = "any"
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
	paramCluster     = "clusterName"
	paramMCPConfig   = "mcpConfigId"
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

// quota is the token bucket of a route: its name, and whose it is once the account is known. The zero quota is no limit.
type quota struct {
	bucket, entity func(*call) string
}

// perAccount is a bucket for each account, and per one for each value of a path parameter.
func perAccount(bucket string) quota {
	return quota{func(*call) string { return bucket }, func(c *call) string { return c.account.id }}
}

func per(param, bucket string) quota {
	return quota{func(*call) string { return bucket }, func(c *call) string { return boundedID(c.params[param]) }}
}

// on is a route of the Admin API.
func on(operation, method, path string, q quota, act func(*call) answer, versions ...string) route {
	return route{operation: operation, method: method, path: path, versions: versions, bucket: q.bucket, entity: q.entity, act: act}
}

// reading is a route that changes nothing.
func reading(path string, q quota, act func(*call) answer, versions ...string) route {
	return on(OperationRead, http.MethodGet, path, q, act, versions...)
}

// newRoutes returns the table of what the sandbox answers.
func (s *Sandbox) newRoutes() []route {
	return slices.Concat(s.oauthRoutes(), s.systemRoutes(), s.federationRoutes(), s.projectRoutes(), s.credentialRoutes(), s.userRoutes(), s.eventRoutes())
}

// operations lists what a fault can be for.
func operations() []string {
	return []string{
		OperationToken, OperationTokenRevoke, OperationJWKSRevoke, OperationIDPDelete,
		OperationRoleMappingDelete, OperationX509Disable, OperationServiceAccountSecretCreate, OperationServiceAccountSecretDelete, OperationServiceAccountDelete,
		OperationAPIKeyDelete, OperationAPIKeyCreate, OperationAPIKeyAssign, OperationDatabaseUserDelete, OperationDatabaseUserScramble, OperationOrgUserRemove,
		OperationProjectUserRemove, OperationRead, OperationRateLimits, OperationAny,
	}
}

// find returns the route of a request and its path parameters. When only the method is wrong, it
// returns the method that would be right.
func find(routes []route, method, path string) (found *route, params map[string]string, allow string) {
	got := strings.Split(path, "/")
	for i := range routes {
		params, ok := match(routes[i].path, got)
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

// match compares the segments of an escaped path with a template and returns the values of its parameters without escapes.
func match(template string, got []string) (map[string]string, bool) {
	if strings.Count(template, "/") != len(got)-1 {
		return nil, false
	}
	params := map[string]string{}
	for segment := range strings.SplitSeq(template, "/") {
		name, isParam := strings.CutPrefix(segment, "{")
		switch {
		case isParam && got[0] != "":
			value, err := url.PathUnescape(got[0])
			if err != nil {
				return nil, false
			}
			params[strings.TrimSuffix(name, "}")] = value
		case segment != got[0]:
			return nil, false
		}
		got = got[1:]
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

// Handler is one operation of the Admin API that a caller adds to the sandbox: the test of a kind of job brings its own.
type Handler struct {
	// Operation is what Request.Operation names it.
	Operation string
	Method    string
	// Path is a template with parameters in braces, each one segment.
	Path string
	// Versions are the resource versions, oldest first.
	Versions []string
	// Answer does the work. The parameters are those of the path, without escapes. A nil document is no body.
	Answer func(params map[string]string, body []byte) (status int, document any)
}

// route is the handler as one of the sandbox's own routes.
func (h Handler) route() route {
	return route{
		operation: h.Operation, method: h.Method, path: h.Path, versions: h.Versions, body: true,
		act: func(c *call) answer {
			status, document := h.Answer(c.params, c.body)
			if document == nil {
				return c.empty(status)
			}
			return c.document(status, document)
		},
	}
}

// readBody reads what a call of the Admin API carries. What is missing or too long is left out, and for the handler to refuse.
func readBody(w http.ResponseWriter, r *http.Request) []byte {
	if r.Body == nil {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil
	}
	return body
}
