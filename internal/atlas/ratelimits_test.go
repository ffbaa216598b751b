package atlas_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
)

// lists answers requests for the rate limits with a document, and everything else well.
type lists struct {
	limitedAPI
	status   int
	document string
	header   []string // Of the other answers.
	asked    int
}

func (l *lists) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.URL.Path, "/rateLimits") {
		resp, err := l.limitedAPI.RoundTrip(req)
		for i := 0; i+1 < len(l.header); i += 2 {
			resp.Header.Set(l.header[i], l.header[i+1])
		}
		return resp, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	return reply(l.status, l.document), nil
}

// asks is how often the API was asked.
func (l *lists) asks() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// listOf is the vendor's document with one endpoint set.
func listOf(scope, capacity string) string {
	return `{"results":[{"scope":"` + scope + `","endpoints":[{"method":"GET","path":"/x"},` +
		`{"method":"DELETE","path":"/api/atlas/v2/groups/{groupId}/userSecurity/customerX509"}],` +
		`"capacity":` + capacity + `,"refillRate":{"value":1,"defaultValue":9},"refillDurationSeconds":3600}]}`
}

// TestRateLimitsAreRead: when the API is asked, and what is taken over.
func TestRateLimitsAreRead(t *testing.T) {
	header := []string{"RateLimit-Limit", "4", "RateLimit-Remaining", "3"}
	tests := []struct {
		name     string
		mode     string
		status   int
		document string
		header   []string
		asked    int // After the first job.
		takes    int // Calls of the bucket then; 99 when nothing is known.
	}{
		{name: "always", mode: atlas.ReadAlways, status: 200, document: listOf("GROUP", "5"), asked: 1, takes: 5},
		{name: "an object", mode: atlas.ReadAlways, status: 200, document: listOf("GROUP", `{"value":6}`), asked: 1, takes: 6},
		{name: "another scope", mode: atlas.ReadAlways, status: 200, document: listOf("ORGANIZATION", "5"), asked: 1, takes: 99},
		{name: "nonsense", mode: atlas.ReadAlways, status: 200, document: listOf("GROUP", `"5"`), asked: 1, takes: 99},
		{name: "no bucket", mode: atlas.ReadAlways, status: 200, document: listOf("GROUP", "0"), asked: 1, takes: 99},
		{name: "forbidden", mode: atlas.ReadAlways, status: 403, document: "{}", asked: 1, takes: 99},
		{name: "never", mode: atlas.ReadNever, status: 200, document: listOf("GROUP", "5"), header: header, takes: 99},
		{name: "no answer names limits", status: 200, document: listOf("GROUP", "5"), takes: 99},
		{name: "an answer speaks of limits", status: 200, document: listOf("GROUP", "4"), header: header, asked: 1, takes: 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := &lists{status: tt.status, document: tt.document, header: tt.header}
				cfg := config(api)
				cfg.ReadRateLimits, cfg.Accounts = tt.mode, []atlas.Account{apiKey("key")}
				c := newClient(t, cfg)
				defer runs(t, c)()
				synctest.Wait()
				j := job(t, kinds.X509Disable, "key")
				if tt.header != nil {
					revokeWorks(t, c, j)
					synctest.Wait()
				}
				if asked := api.asks(); asked != tt.asked {
					t.Errorf("the API was asked %d times, want %d", asked, tt.asked)
				}
				takes := 0
				for takes < 99 && permit(t, c, j).IsZero() {
					takes++
					revokeWorks(t, c, j)
				}
				if takes != tt.takes {
					t.Errorf("the bucket took %d calls, want %d", takes, tt.takes)
				}
			})
		})
	}
}

// TestRateLimitsAreReadAgain: half a day later, and an hour after a failure. What is configured
// counts more, what answers say later counts more.
func TestRateLimitsAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &lists{status: 500}
		cfg := config(api)
		cfg.ReadRateLimits, cfg.Accounts = atlas.ReadAlways, []atlas.Account{apiKey("key")}
		c := newClient(t, cfg)
		stop := runs(t, c)
		asked := []int{}
		look := func(d time.Duration) {
			pass(d)
			synctest.Wait()
			asked = append(asked, api.asks())
		}
		look(0)
		api.mu.Lock()
		api.status, api.document = 200, listOf("GROUP", "5")
		api.mu.Unlock()
		look(time.Hour)
		look(11 * time.Hour)
		look(time.Hour)
		stop()
		if !slices.Equal(asked, []int{1, 2, 2, 3}) {
			t.Errorf("asked %v times at the start and after 1, 12 and 13 hours", asked)
		}
	})
}

// TestSandboxTellsItsLimits: the list of the sandbox is understood, by either sort of account.
func TestSandboxTellsItsLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, sandbox.Bucket{Capacity: 7, Refill: 2, Every: time.Minute}, func(cfg *atlas.Config) {
			cfg.ReadRateLimits = atlas.ReadAlways
		})
		defer f.stop()
		pass(time.Second)
		f.drain(t, 7, jobs.LaneUrgent)
		if _, refused := f.calls(); refused != 0 {
			t.Errorf("%d calls were refused", refused)
		}
		j := sandboxJob(t, kinds.X509Disable, "key", "")
		if at := f.clients[0].Permit(t.Context(), j).At; time.Until(at) < 59*time.Second {
			t.Errorf("the eighth call may be made in %s, want a minute", time.Until(at))
		}
	})
}

// TestConfiguredLimitCountsMore than what the API says.
func TestConfiguredLimitCountsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &lists{status: 200, document: listOf("GROUP", "5")}
		cfg := config(api)
		cfg.ReadRateLimits, cfg.Accounts = atlas.ReadAlways, []atlas.Account{apiKey("key")}
		cfg.RateLimits = map[string]atlas.RateLimit{"x509_project": {Limit: pace.Limit{Capacity: 2, Refill: 1, Every: time.Hour}}}
		c := newClient(t, cfg)
		defer runs(t, c)()
		synctest.Wait()
		takes := 0
		for permit(t, c, job(t, kinds.X509Disable, "key")).IsZero() {
			takes++
		}
		if takes != 2 {
			t.Errorf("the bucket took %d calls, want 2", takes)
		}
	})
}
