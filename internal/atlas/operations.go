package atlas

import (
	"net/http"
	"net/url"
	"strings"

	"rekey/internal/jobs"
)

// OperationToken is the operation of fetching a bearer token, in metrics. The other
// operations, but OperationRead, have the names of the kinds.
const OperationToken = "token"

// Operations lists all operations, as the Recorder hears of them.
func Operations() []string {
	return append([]string{OperationToken, OperationRead, OperationRateLimits}, jobs.Names(jobs.Kinds())...)
}

// Paths of the API. A parameter in braces is one of the job.
const (
	pathToken       = "/api/oauth/token"
	pathRevoke      = "/api/oauth/revoke"
	pathIDP         = "/api/atlas/v2/federationSettings/{federation_id}/identityProviders/{identity_provider_id}"
	pathRoleMapping = "/api/atlas/v2/federationSettings/{federation_id}/connectedOrgConfigs/{org_id}/roleMappings/{role_mapping_id}"
	pathX509        = "/api/atlas/v2/groups/{project_id}/userSecurity/customerX509"
	pathX509v10     = "/api/atlas/v1.0/groups/{project_id}/userSecurity/customerX509"
)

// operation is how the API does one kind of job.
type operation struct {
	method string
	path   string
	// accept is the version of the resource that is asked for. The API answers 406 without one.
	accept string
	// success is what each good status proves. Every other status is a failure.
	success map[int]jobs.Known
	// document says that a success comes with a JSON document, if with anything: other text is not the API's.
	document bool
	// set is the endpoint set whose rate buckets the operation draws on.
	set endpointSet
}

// newOperations is the table of the API's calls, with the versions that the vendor's
// documentation of the Atlas Administration API names.
func newOperations(x509API string) map[jobs.Kind]operation {
	revoked := func(status int) map[int]jobs.Known { return map[int]jobs.Known{status: jobs.KnownRevoked} }
	x509 := operation{
		method: http.MethodDelete, path: pathX509, accept: "application/vnd.atlas.2023-01-01+json",
		// 202 starts a rolling restart. The other two are not documented, and do not say that it is over.
		success: map[int]jobs.Known{
			http.StatusAccepted: jobs.KnownAccepted, http.StatusOK: jobs.KnownAccepted, http.StatusNoContent: jobs.KnownAccepted,
		},
		document: true,
		set:      setX509,
	}
	if x509API == X509APIv10 {
		x509.path, x509.accept = pathX509v10, "application/json"
	}
	return map[jobs.Kind]operation{
		jobs.TokenRevoke: {
			method: http.MethodPost, path: pathRevoke, accept: "application/json",
			// It is the answer for a token that the API does not know, too (RFC 7009 section 2.2).
			success: map[int]jobs.Known{http.StatusOK: jobs.KnownAccepted}, set: setOAuthRevoke,
		},
		jobs.JWKSRevoke: {
			method: http.MethodDelete, path: pathIDP + "/jwks", accept: "application/vnd.atlas.2025-02-19+json",
			success: revoked(http.StatusNoContent), set: setFederation,
		},
		jobs.IDPDelete: {
			method: http.MethodDelete, path: pathIDP, accept: "application/vnd.atlas.2025-03-12+json",
			success: revoked(http.StatusNoContent), set: setFederation,
		},
		jobs.RoleMappingDelete: {
			method: http.MethodDelete, path: pathRoleMapping, accept: "application/vnd.atlas.2024-10-23+json",
			success: revoked(http.StatusNoContent), set: setFederationOrg,
		},
		jobs.X509Disable: x509,
	}
}

// url returns where the job's request goes.
func (o operation) url(baseURL string, job jobs.Job) string {
	path := o.path
	for _, name := range job.Kind.ParamNames() {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(job.Params.Get(name)))
	}
	return baseURL + path
}
