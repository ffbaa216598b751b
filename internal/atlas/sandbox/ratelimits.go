package sandbox

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Path templates of what belongs to no organization and no project.
const (
	pathSystem     = "/api/atlas/v2"
	pathOrgs       = pathSystem + "/orgs"
	pathGroups     = pathSystem + "/groups"
	pathRateLimits = pathSystem + "/rateLimits"
)

// Scopes of endpoint sets.
const (
	scopeUser         = "USER"
	scopeOrganization = "ORGANIZATION"
	scopeProject      = "GROUP"
)

// paramUser is the query parameter for the client id or public key of an account.
const paramUser = "userId"

// endpointSet is a set of endpoints that share a token bucket, as Atlas lists it.
type endpointSet struct {
	ID        string     `json:"endpointSetId"`
	Name      string     `json:"endpointSetName"`
	Scope     string     `json:"scope"`
	Endpoints []endpoint `json:"endpoints"`
	Capacity  limitValue `json:"capacity"`
	Rate      limitValue `json:"refillRate"`
	Seconds   limitValue `json:"refillDurationSeconds"`
}

// endpoint is one method and path template of a set.
type endpoint struct {
	Method string `json:"method"`
	Path   string `json:"path"`
}

// limitValue is a number that may have been changed for a customer. Only then does Atlas name
// the default.
type limitValue struct {
	Value   int  `json:"value"`
	Default *int `json:"defaultValue,omitempty"`
}

// systemRoutes returns the table of what belongs to no organization and no project.
func (s *Sandbox) systemRoutes() []route {
	account := perAccount(BucketSystem)
	return []route{
		reading(pathSystem, account, s.readSystem, "2023-01-01"),
		reading(pathSystem+"/", account, s.readSystem, "2023-01-01"),
		reading(pathOrgs, account, s.listOrgs, "2023-01-01"),
		reading(pathGroups, account, s.listProjects, "2023-01-01"),
		on(OperationRateLimits, http.MethodGet, pathRateLimits, quota{rateLimitsBucket, rateLimitsEntity}, s.listRateLimits, "2025-03-12"),
	}
}

// readSystem answers GET /api/atlas/v2.
func (s *Sandbox) readSystem(c *call) answer {
	key := map[string]any{"roles": assignments(c.account.roles), "accessList": []any{}}
	if c.account.kind == kindAPIKey {
		key["id"], key["publicKey"] = c.account.keyID, c.account.id
	}
	return c.document(http.StatusOK, map[string]any{"appName": "MongoDB Atlas", "build": "sandbox", "throttling": false, "apiKey": key})
}

// listOrgs answers GET /api/atlas/v2/orgs with the organizations in which the caller has any role.
func (s *Sandbox) listOrgs(c *call) answer {
	list := []named{}
	for _, role := range c.account.roles {
		if org := (named{ID: role.OrgID}); role.OrgID != "" && !slices.Contains(list, org) {
			list = append(list, org)
		}
	}
	return page(c, list)
}

// listProjects answers GET /api/atlas/v2/groups with the projects that the caller can see.
func (s *Sandbox) listProjects(c *call) answer {
	list := []projectDocument{}
	for _, id := range slices.Sorted(maps.Keys(s.world.projects)) {
		if p := s.world.projects[id]; c.account.reads(p.orgID, id) {
			list = append(list, p.document(id))
		}
	}
	return page(c, list)
}

// endpointSets returns what the sandbox limits, as the vendor groups it.
func (s *Sandbox) endpointSets() []endpointSet {
	remove := func(paths ...string) (list []endpoint) {
		for _, path := range paths {
			list = append(list, endpoint{Method: http.MethodDelete, Path: path})
		}
		return list
	}
	read := func(paths ...string) (list []endpoint) {
		for _, path := range paths {
			list = append(list, endpoint{Method: http.MethodGet, Path: path})
		}
		return list
	}
	list := read(pathRateLimits)
	const federated, limits, accounts, users = "Federated Authentication", "Rate Limits Inspection", "Service Accounts", "Users"
	sets := []endpointSet{
		{ID: BucketClusters, Name: "Clusters", Scope: scopeProject, Endpoints: read(pathClusters, pathClusterStatus, pathFlexClusters)},
		{ID: BucketDatabaseUsers, Name: "Database Users", Scope: scopeProject, Endpoints: append(remove(pathDatabaseUser), endpoint{http.MethodPatch, pathDatabaseUser})},
		{ID: BucketEventsProject, Name: "Events", Scope: scopeProject, Endpoints: read(pathProjectEvents)},
		{ID: BucketEventsOrg, Name: "Events", Scope: scopeOrganization, Endpoints: read(pathOrgEvents)},
		{ID: BucketFederationOrg, Name: federated, Scope: scopeOrganization, Endpoints: remove(pathRoleMapping)},
		{ID: BucketFederationUser, Name: federated, Scope: scopeUser, Endpoints: remove(pathIDP, pathJWKS)},
		{ID: BucketSystem, Name: "Organizations", Scope: scopeUser, Endpoints: read(pathSystem, pathOrgs, pathGroups)},
		{ID: BucketAPIKeys, Name: "Programmatic API Keys", Scope: scopeOrganization, Endpoints: remove(pathAPIKey)},
		{ID: BucketRateLimitsOrg, Name: limits, Scope: scopeOrganization, Endpoints: list},
		{ID: BucketRateLimitsProject, Name: limits, Scope: scopeProject, Endpoints: list},
		{ID: BucketRateLimitsUser, Name: limits, Scope: scopeUser, Endpoints: list},
		{ID: BucketServiceAccountsProject, Name: accounts, Scope: scopeProject, Endpoints: append(remove(pathProjectAccountSecret), endpoint{http.MethodPost, pathProjectSecrets})},
		{ID: BucketServiceAccountsOrg, Name: accounts, Scope: scopeOrganization, Endpoints: append(remove(pathOrgAccount, pathOrgAccountSecret), endpoint{http.MethodPost, pathOrgAccountSecrets})},
		{ID: BucketUsersProject, Name: users, Scope: scopeProject, Endpoints: remove(pathProjectUser)},
		{ID: BucketUsersOrg, Name: users, Scope: scopeOrganization, Endpoints: remove(pathOrgUser)},
		{ID: BucketX509, Name: "X509 Authentication", Scope: scopeProject, Endpoints: remove(pathX509)},
	}
	defaults := DefaultBuckets()
	for i, set := range sets {
		applied, usual := s.buckets.limits[set.ID], defaults[set.ID]
		sets[i].Capacity = newLimitValue(applied.Capacity, usual.Capacity)
		sets[i].Rate = newLimitValue(applied.Refill, usual.Refill)
		sets[i].Seconds = newLimitValue(wholeSeconds(applied.Every), int(usual.Every/time.Second))
	}
	return sets
}

func newLimitValue(applied, usual int) limitValue {
	if applied == usual {
		return limitValue{Value: applied}
	}
	return limitValue{Value: applied, Default: &usual}
}

// rateLimitsBucket chooses the bucket by what the caller asks about.
func rateLimitsBucket(c *call) string {
	query := c.request.URL.Query()
	switch {
	case query.Has(paramProject):
		return BucketRateLimitsProject
	case query.Has(paramOrg):
		return BucketRateLimitsOrg
	default:
		return BucketRateLimitsUser
	}
}

// rateLimitsEntity says whose bucket that is.
func rateLimitsEntity(c *call) string {
	query := c.request.URL.Query()
	switch rateLimitsBucket(c) {
	case BucketRateLimitsProject:
		return boundedID(query.Get(paramProject))
	case BucketRateLimitsOrg:
		return boundedID(query.Get(paramOrg))
	default:
		return c.account.id
	}
}

// listRateLimits answers GET /api/atlas/v2/rateLimits, with the filters groupId, orgId, userId and
// endpointPath. The list is short enough for one page.
func (s *Sandbox) listRateLimits(c *call) answer {
	scope, refusal, ok := s.askedScope(c)
	if !ok {
		return refusal
	}
	paths := c.request.URL.Query()["endpointPath"]
	results := slices.DeleteFunc(s.endpointSets(), func(set endpointSet) bool {
		return scope != "" && set.Scope != scope || len(paths) > 0 && !set.hasAny(paths)
	})
	return c.document(http.StatusOK, struct {
		Results    []endpointSet `json:"results"`
		TotalCount int           `json:"totalCount"`
	}{results, len(results)})
}

// hasAny says whether one of the paths is in the set.
func (set endpointSet) hasAny(paths []string) bool {
	return slices.ContainsFunc(set.Endpoints, func(e endpoint) bool {
		return slices.ContainsFunc(paths, func(p string) bool { return strings.TrimSuffix(p, "/") == e.Path })
	})
}

// askedScope returns the scope of the one thing that the caller asks about, or "" for everything,
// after checking that the caller may know.
func (s *Sandbox) askedScope(c *call) (string, answer, bool) {
	query := c.request.URL.Query()
	asked := slices.DeleteFunc([]string{paramProject, paramOrg, paramUser}, func(name string) bool { return !query.Has(name) })
	if len(asked) == 0 {
		return "", answer{}, true
	}
	if len(asked) > 1 {
		return "", c.refuse(http.StatusBadRequest, "VALIDATION_ERROR", "Only one of groupId, orgId and userId can be given."), false
	}
	name, id := asked[0], query.Get(asked[0])
	if name != paramUser && !validID(id) {
		return "", c.malformedID(name, id), false
	}
	var scope string
	var allowed bool
	switch name {
	case paramUser:
		scope, allowed = scopeUser, id == c.account.id
	case paramOrg:
		scope, allowed = scopeOrganization, c.account.reads(id, "")
	case paramProject:
		p := s.world.projects[id]
		if p == nil {
			return "", c.missingProject(id), false
		}
		scope, allowed = scopeProject, c.account.reads(p.orgID, id)
	}
	if !allowed {
		return "", c.unauthorized(), false
	}
	return scope, answer{}, true
}
