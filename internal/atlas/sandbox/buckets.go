package sandbox

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Names of the token buckets, for Config.Buckets. Those of the Admin API are endpoint set ids:
// the vendor's name of the set in camel case, and the scope.
const (
	// BucketToken limits POST /api/oauth/token per IP address and client.
	BucketToken = "oauth_token"
	// BucketTokenRevoke limits POST /api/oauth/revoke per IP address and client.
	BucketTokenRevoke = "oauth_revoke"
	// BucketFederationUser limits jwks.revoke and idp.delete together, per account.
	BucketFederationUser = "federatedAuthentication_user"
	// BucketFederationOrg limits role_mapping.delete per organization.
	BucketFederationOrg = "federatedAuthentication_organization"
	// BucketX509 limits x509.disable by the v2 path, per project.
	BucketX509 = "x509Authentication_group"
	// BucketServiceAccountsOrg limits service accounts and their secrets by organization, per organization.
	BucketServiceAccountsOrg = "serviceAccounts_organization"
	// BucketServiceAccountsProject limits them by project, per project.
	BucketServiceAccountsProject = "serviceAccounts_group"
	// BucketAPIKeys limits API keys, per organization.
	BucketAPIKeys = "programmaticAPIKeys_organization"
	// BucketDatabaseUsers limits database users, per project.
	BucketDatabaseUsers = "databaseUsers_group"
	// BucketUsersOrg limits people by organization, per organization.
	BucketUsersOrg = "users_organization"
	// BucketUsersProject limits them by project, per project.
	BucketUsersProject = "users_group"
	// BucketClusters limits reading clusters, per project.
	BucketClusters = "clusters_group"
	// BucketEventsOrg and BucketEventsProject limit reading the event log, per organization and per project.
	BucketEventsOrg     = "events_organization"
	BucketEventsProject = "events_group"
	// BucketSystem limits what belongs to no organization and no project, such as GET /orgs, per account.
	BucketSystem = "organizations_user"
	// BucketRateLimitsUser limits rate_limits per account.
	BucketRateLimitsUser = "rateLimitsInspection_user"
	// BucketRateLimitsOrg limits rate_limits that ask for an organization, per organization.
	BucketRateLimitsOrg = "rateLimitsInspection_organization"
	// BucketRateLimitsProject limits rate_limits that ask for a project, per project.
	BucketRateLimitsProject = "rateLimitsInspection_group"
)

// maxBuckets bounds the memory for buckets, of which callers can ask for any number.
const maxBuckets = 10_000

// maxCapacity is the largest capacity of a bucket that can be configured.
const maxCapacity = 1_000_000

// Bucket is how one token bucket fills. It starts full; each request takes one token; each
// Every adds Refill tokens at once, up to Capacity.
type Bucket struct {
	Capacity int
	Refill   int
	Every    time.Duration
}

// DefaultBuckets returns the limits that the vendor publishes (February 2026).
func DefaultBuckets() map[string]Bucket {
	perUser := Bucket{Capacity: 300, Refill: 100, Every: time.Minute}
	perOrg := Bucket{Capacity: 500, Refill: 250, Every: time.Minute}
	perProject := Bucket{Capacity: 1200, Refill: 500, Every: time.Minute}
	oauth := Bucket{Capacity: 10, Refill: 10, Every: time.Minute}
	return map[string]Bucket{
		BucketToken:          oauth,
		BucketTokenRevoke:    oauth,
		BucketFederationUser: perUser,
		BucketFederationOrg:  perOrg,
		BucketX509:           perProject,
		// Capacities of the last but those of service accounts and project users were seen in answers; their refills are made up.
		BucketServiceAccountsOrg:     perOrg,
		BucketServiceAccountsProject: perProject,
		BucketAPIKeys:                perOrg,
		BucketDatabaseUsers:          {Capacity: 10_000, Refill: 5000, Every: time.Minute},
		BucketUsersOrg:               perOrg,
		BucketUsersProject:           perProject,
		BucketClusters:               {Capacity: 10_000, Refill: 5000, Every: time.Minute},
		BucketEventsOrg:              perOrg,
		BucketEventsProject:          perUser,
		BucketSystem:                 perUser,

		BucketRateLimitsUser:    perUser,
		BucketRateLimitsOrg:     perOrg,
		BucketRateLimitsProject: perProject,
	}
}

// bucketTable returns the default buckets with the overrides in their places.
func bucketTable(overrides map[string]Bucket) (map[string]Bucket, error) {
	table := DefaultBuckets()
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		b := overrides[name]
		if _, known := table[name]; !known {
			return nil, fmt.Errorf("bucket %q is not known; the buckets are %v", name, slices.Sorted(maps.Keys(table)))
		}
		if b.Capacity < 1 || b.Refill < 1 || b.Every <= 0 || b.Capacity > maxCapacity {
			return nil, fmt.Errorf("bucket %q: capacity (at most %d), refill and period must be positive", name, maxCapacity)
		}
		table[name] = b
	}
	return table, nil
}

// bucketKey identifies a bucket: its name and whose it is.
type bucketKey struct{ name, entity string }

// buckets holds the fill of all buckets. The lock of the Sandbox guards it.
type buckets struct {
	limits map[string]Bucket
	fills  map[bucketKey]*fill
}

// fill is the state of one bucket.
type fill struct {
	tokens   int
	refilled time.Time
}

// taken is what came of asking for a token.
type taken struct {
	ok        bool
	limit     Bucket
	remaining int
	// wait is the time until the next refill, when ok is false.
	wait time.Duration
}

func newBuckets(limits map[string]Bucket) *buckets {
	return &buckets{limits: limits, fills: map[bucketKey]*fill{}}
}

// take asks for one token of the named bucket of the entity.
func (b *buckets) take(name, entity string, now time.Time) taken {
	limit := b.limits[name]
	key := bucketKey{name, entity}
	f := b.fills[key]
	if f == nil {
		b.makeRoom(now)
		f = &fill{tokens: limit.Capacity, refilled: now}
		b.fills[key] = f
	}
	f.refill(limit, now)
	if f.tokens == 0 {
		return taken{limit: limit, wait: f.refilled.Add(limit.Every).Sub(now)}
	}
	f.tokens--
	return taken{ok: true, limit: limit, remaining: f.tokens}
}

// refill adds what whole periods have brought since the last refill. A part of a period
// brings nothing.
func (f *fill) refill(limit Bucket, now time.Time) {
	periods := now.Sub(f.refilled) / limit.Every
	if periods <= 0 {
		return
	}
	f.refilled = f.refilled.Add(periods * limit.Every)
	// Each refill brings one token at least. Without this, multiplying could overflow.
	periods = min(periods, time.Duration(limit.Capacity))
	f.tokens = min(limit.Capacity, f.tokens+int(periods)*min(limit.Refill, limit.Capacity))
}

// makeRoom forgets full buckets when there are too many, because a new one would be full as
// well. If all are in use, one of them is forgotten.
func (b *buckets) makeRoom(now time.Time) {
	if len(b.fills) < maxBuckets {
		return
	}
	for key, f := range b.fills {
		limit := b.limits[key.name]
		if f.refill(limit, now); f.tokens == limit.Capacity {
			delete(b.fills, key)
		}
	}
	for key := range b.fills {
		if len(b.fills) < maxBuckets {
			return
		}
		delete(b.fills, key)
	}
}

// wholeSeconds is d in seconds, rounded up, and at least 1, as Retry-After tells it.
func wholeSeconds(d time.Duration) int {
	return max(1, int(math.Ceil(d.Seconds())))
}
