package sandbox

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBucketSchedule(t *testing.T) {
	// The vendor's example: capacity 10, refill 5 per 60 seconds.
	limit := Bucket{Capacity: 10, Refill: 5, Every: time.Minute}
	steps := []struct {
		name string
		at   time.Duration // Since the first request.
		take int
		want taken // Of the last one.
	}{
		{name: "the first", at: 0, take: 1, want: taken{ok: true, remaining: 9}},
		{name: "the rest of the burst", at: 5 * time.Second, take: 9, want: taken{ok: true, remaining: 0}},
		{name: "empty", at: 5 * time.Second, take: 1, want: taken{wait: 55 * time.Second}},
		{name: "a nanosecond early", at: time.Minute - 1, take: 1, want: taken{wait: 1}},
		{name: "refilled", at: time.Minute, take: 1, want: taken{ok: true, remaining: 4}},
		{name: "only by five", at: time.Minute, take: 5, want: taken{wait: time.Minute}},
		{name: "two periods later", at: 3*time.Minute + 30*time.Second, take: 1, want: taken{ok: true, remaining: 9}},
		{name: "periods keep their beat", at: 3*time.Minute + 30*time.Second, take: 10, want: taken{wait: 30 * time.Second}},
		{name: "never over the capacity", at: 100 * time.Minute, take: 1, want: taken{ok: true, remaining: 9}},
		{name: "after years", at: 20 * 365 * 24 * time.Hour, take: 1, want: taken{ok: true, remaining: 9}},
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := newBuckets(map[string]Bucket{"x": limit})
	for _, tt := range steps {
		t.Run(tt.name, func(t *testing.T) {
			var got taken
			for range tt.take {
				got = b.take("x", "me", start.Add(tt.at))
			}
			tt.want.limit = limit
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	if got := b.take("x", "you", start); got.remaining != 9 {
		t.Errorf("another's bucket has %d left", got.remaining)
	}
}

func TestBucketsAreBounded(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := newBuckets(map[string]Bucket{"x": {Capacity: 2, Refill: 1, Every: time.Minute}})
	for i := range maxBuckets {
		b.take("x", fmt.Sprint(i), start)
	}
	b.take("x", "all are in use", start)
	if len(b.fills) != maxBuckets {
		t.Errorf("there are %d buckets", len(b.fills))
	}
	b.take("x", "mine", start.Add(time.Minute-1))
	b.take("x", "all are full", start.Add(time.Minute))
	if len(b.fills) > maxBuckets {
		t.Errorf("there are %d buckets", len(b.fills))
	}
	b.take("x", "yet another", start.Add(time.Hour))
	if len(b.fills) > maxBuckets {
		t.Errorf("there are %d buckets", len(b.fills))
	}
}

func TestRateLimited(t *testing.T) {
	f := newFixture(t, Config{Buckets: map[string]Bucket{BucketFederationUser: {Capacity: 2, Refill: 1, Every: time.Minute}}})
	// Deleting and JWKS share a bucket, and refused calls spend as well.
	steps := []struct {
		name, account, path string
		want                [4]string // Status, RateLimit-Limit, RateLimit-Remaining, Retry-After.
	}{
		{name: "first", account: ClientID, path: jwksPath, want: [4]string{"204", "2", "1", ""}},
		{name: "refused", account: ClientID, path: idpPath(FederationID, LockedIdentityProviderID), want: [4]string{"409", "2", "0", ""}},
		{name: "empty", account: ClientID, path: jwksPath, want: [4]string{"429", "2", "0", "60"}},
		{name: "other account", account: ReadOnlyClientID, path: jwksPath, want: [4]string{"401", "2", "1", ""}},
		{name: "other set", account: ClientID, path: x509Path, want: [4]string{"202", "1200", "1199", ""}},
	}
	var limited reply
	for _, tt := range steps {
		t.Run(tt.name, func(t *testing.T) {
			got := f.bearer(tt.account, "DELETE", tt.path)
			parts := [4]string{fmt.Sprint(got.status), got.header.Get("RateLimit-Limit"), got.header.Get("RateLimit-Remaining"), got.header.Get("Retry-After")}
			if parts != tt.want {
				t.Errorf("got %q, want %q: %s", parts, tt.want, got.body)
			}
			if got.status == 429 {
				limited = got
			}
		})
	}
	path := jwksPath[1:]
	want := `{"error":429,"errorCode":"RATE_LIMITED_TOKEN_BUCKET","reason":"Too Many Requests","detail":"Rate limit exceeded for ` + path +
		`. Please retry after 60 seconds. Request capacity: 2. Refill rate: 1 per 60 seconds.","parameters":["` + path + `",60,2,1,60]}`
	if diff := cmp.Diff(want, limited.body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	f.clock.add(time.Minute)
	if got := f.bearer(ClientID, "DELETE", jwksPath); got.status != 204 {
		t.Errorf("after the wait: %d", got.status)
	}
	if n := f.State().Federations[0].IdentityProviders[0].JWKSRevocations; n != 2 {
		t.Errorf("%d revocations; a limited call must have no effect", n)
	}
}

func TestScopesOfBuckets(t *testing.T) {
	tests := []struct {
		name, method  string
		first, second string // Paths that must not share a bucket.
	}{
		{name: "organizations", method: "DELETE", first: mappingPath(FederationID, OrgID, RoleMappingID), second: mappingPath(OtherFederationID, OtherOrgID, OtherRoleMappingID)},
		{name: "projects", method: "DELETE", first: x509Path, second: projectPath(SpareProjectID)},
		{name: "rate limits of projects", method: "GET", first: pathRateLimits + "?groupId=" + ProjectID, second: pathRateLimits + "?groupId=" + SpareProjectID},
		{name: "rate limits of user and organization", method: "GET", first: pathRateLimits, second: pathRateLimits + "?orgId=" + OrgID},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, Config{})
			first, again, second := f.bearer(ClientID, tt.method, tt.first), f.bearer(ClientID, tt.method, tt.first), f.bearer(ClientID, tt.method, tt.second)
			limit, remaining := "RateLimit-Limit", "RateLimit-Remaining"
			var capacity, left int
			if _, err := fmt.Sscan(second.header.Get(limit)+" "+second.header.Get(remaining), &capacity, &left); err != nil || left != capacity-1 {
				t.Errorf("the second has %d of %d: %v", left, capacity, err)
			}
			if first.header.Get(remaining) == again.header.Get(remaining) {
				t.Errorf("the first spends nothing: %s", again.header.Get(remaining))
			}
		})
	}
}

func TestMalformedIDsShareABucket(t *testing.T) {
	f := newFixture(t, Config{Buckets: map[string]Bucket{BucketX509: {Capacity: 1, Refill: 1, Every: time.Minute}}})
	if got := f.bearer(ClientID, "DELETE", projectPath("x")); got.status != 400 {
		t.Errorf("first: %d", got.status)
	}
	if got := f.bearer(ClientID, "DELETE", projectPath("y")); got.status != 429 {
		t.Errorf("second: %d", got.status)
	}
}

// TestRealClock checks in virtual time that the waits that the sandbox tells are exact.
func TestRealClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Buckets: map[string]Bucket{BucketX509: {Capacity: 3, Refill: 2, Every: 10 * time.Second}}})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var got []string
		for range 8 {
			for {
				r := httptest.NewRequest("DELETE", x509Path, nil)
				r.Header.Set("Authorization", "Bearer "+s.MintToken(ClientID))
				r.Header.Set("Accept", "application/vnd.atlas.2023-01-01+json")
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				if w.Code == 202 {
					break
				}
				var seconds int
				if _, err := fmt.Sscan(w.Header().Get("Retry-After"), &seconds); err != nil || w.Code != 429 {
					t.Fatalf("%d, Retry-After: %v", w.Code, err)
				}
				<-time.After(time.Duration(seconds) * time.Second) // In the bubble's time.
			}
			got = append(got, time.Since(start).String())
		}
		want := []string{"0s", "0s", "0s", "10s", "10s", "20s", "20s", "30s"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("when calls were let through (-want +got):\n%s", diff)
		}
	})
}
