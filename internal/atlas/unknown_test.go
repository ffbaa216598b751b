package atlas_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
)

// quietAPI is a bucket that says of itself what the test wants it to say.
type quietAPI struct {
	capacity int           // Zero: it has no limit.
	every    time.Duration // After which one more call is there.
	took     time.Duration // How long a call takes.
	headers  bool          // Answers say what is left.
	document bool          // Refusals tell the limit.

	mu      sync.Mutex
	tokens  int
	filled  time.Time
	calls   []time.Time // Those that got through.
	refused int
}

func (a *quietAPI) RoundTrip(req *http.Request) (*http.Response, error) {
	if isTokenRequest(req) {
		return issue(bearerToken, 3600), nil
	}
	if req.Method == http.MethodGet {
		return reply(404, ""), nil
	}
	left, ok := a.take(time.Now())
	pass(a.took)
	header := []string{"Retry-After", "1"}
	if a.headers {
		header = append(header, "RateLimit-Limit", strconv.Itoa(a.capacity), "RateLimit-Remaining", strconv.Itoa(left))
	}
	if ok {
		return reply(202, "{}", header[2:]...), nil
	}
	body := ""
	if a.document {
		body = adminProblem(429, "RATE_LIMITED_TOKEN_BUCKET", "slow down", "x", 1, a.capacity, int(time.Second/a.every), 1)
	}
	return reply(429, body, header...), nil
}

func (a *quietAPI) take(now time.Time) (left int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.capacity == 0 {
		a.calls = append(a.calls, now)
		return 0, true
	}
	if a.filled.IsZero() {
		a.tokens, a.filled = a.capacity, now
	}
	come := now.Sub(a.filled) / a.every
	a.tokens, a.filled = min(a.capacity, a.tokens+int(come)), a.filled.Add(come*a.every)
	if a.tokens == 0 {
		a.refused++
		return 0, false
	}
	a.tokens--
	a.calls = append(a.calls, now)
	return a.tokens, true
}

// crowd is a fleet at one bucket of an API.
type crowd struct {
	clients []*atlas.Client
	slots   []chan struct{} // Of each worker.
}

func newCrowd(t *testing.T, api *quietAPI, workers int, known bool) *crowd {
	t.Helper()
	shared := newStore()
	var c crowd
	for range workers {
		cfg := config(api)
		cfg.Accounts = cfg.Accounts[:1]
		cfg.Pace, cfg.UrgentShare = shared, 0.2
		if known {
			cfg.RateLimits = map[string]atlas.RateLimit{"x509_project": {Limit: pace.Limit{Capacity: 10_000, Refill: 10_000, Every: time.Second}}}
		}
		client := newClient(t, cfg)
		t.Cleanup(runs(t, client))
		c.clients = append(c.clients, client)
		c.slots = append(c.slots, make(chan struct{}, 12))
	}
	synctest.Wait()
	return &c
}

// run does a job as the queue would, and returns when it was done.
func (c *crowd) run(t *testing.T, n int, lane jobs.Lane) time.Time {
	j := job(t, kinds.X509Disable, "service")
	j.Lane = lane
	for ; ; n++ {
		worker := n % len(c.clients)
		if lane != jobs.LaneUrgent { // Which has slots of its own.
			c.slots[worker] <- struct{}{}
		}
		at := c.clients[worker].Permit(t.Context(), j).At
		if !at.After(time.Now()) {
			pass(2 * time.Millisecond) // The claim.
			if _, err := c.clients[worker].Revoke(context.WithoutCancel(t.Context()), j); err != nil {
				at = failureOf(t, jobs.Answer{}, err).RetryAt
			}
		}
		done := time.Now()
		if lane != jobs.LaneUrgent {
			<-c.slots[worker]
		}
		if at.IsZero() {
			return done
		}
		pass(time.Until(at))
	}
}

// drain does n jobs.
func (c *crowd) drain(t *testing.T, n int, lane jobs.Lane) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { c.run(t, i, lane) })
	}
	all.Wait()
}

// TestUrgentOvertakesWhateverIsKnown: a burst of urgent jobs passes a backlog of bulk jobs of the same
// bucket, whatever is known of it.
func TestUrgentOvertakesWhateverIsKnown(t *testing.T) {
	const backlog, burst, most = 1000, 20, 300 * time.Millisecond
	for _, tt := range []struct {
		name     string
		known    bool
		capacity int
	}{
		{name: "known", known: true},
		{name: "answers say what is left", capacity: 5000},
		{name: "answers say nothing"},
	} {
		for _, took := range []time.Duration{0, 20 * time.Millisecond, 50 * time.Millisecond} {
			for _, after := range []time.Duration{0, 100 * time.Millisecond, 3 * time.Second} {
				t.Run(fmt.Sprintf("%s, calls of %s, after %s", tt.name, took, after), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						api := &quietAPI{capacity: tt.capacity, every: time.Minute, headers: tt.capacity > 0, took: took}
						c := newCrowd(t, api, 1, tt.known)
						var bulk, urgent sync.WaitGroup
						bulk.Go(func() { c.drain(t, backlog, jobs.LaneBulk) })
						pass(max(after, 1))
						begun, waited := time.Now(), make([]time.Duration, burst)
						for i := range burst {
							urgent.Go(func() { waited[i] = c.run(t, i, jobs.LaneUrgent).Sub(begun) })
						}
						urgent.Wait()
						if worst := slices.Max(waited); worst > most+took {
							t.Errorf("the last urgent job was done after %s, want %s", worst, most+took)
						}
						bulk.Wait()
					})
				})
			}
		}
	}
}

// TestFirstHundred: a bucket of which nothing is known is used half as fast as a known one at least,
// where answers say what is left, or are quick.
func TestFirstHundred(t *testing.T) {
	for _, tt := range []struct {
		name     string
		took     time.Duration
		capacity int
	}{
		{name: "quick calls", took: time.Millisecond / 2},
		{name: "calls of 20 ms that say what is left", took: 20 * time.Millisecond, capacity: 500},
		{name: "calls of 50 ms that say what is left", took: 50 * time.Millisecond, capacity: 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			took := map[bool]time.Duration{}
			for _, known := range []bool{true, false} {
				synctest.Test(t, func(t *testing.T) {
					api := &quietAPI{took: tt.took, capacity: tt.capacity, every: time.Minute, headers: tt.capacity > 0}
					c, begun := newCrowd(t, api, 1, known), time.Now()
					var all sync.WaitGroup
					for i := range 100 { // As fast as intake makes them.
						all.Go(func() { c.run(t, i, jobs.LaneBulk) })
						pass(time.Millisecond)
					}
					all.Wait()
					took[known] = time.Since(begun)
				})
			}
			if took[false] > 2*took[true] {
				t.Errorf("100 jobs took %s, and %s where the bucket is known", took[false], took[true])
			}
		})
	}
}

// TestFleetFindsALimit: however many workers look for the limit of a bucket, and however urgent their
// jobs are, each is refused about once, and none after that.
func TestFleetFindsALimit(t *testing.T) {
	for _, capacity := range []int{5, 10, 20, 60, 100} {
		for _, headers := range []bool{false, true} {
			for _, lane := range jobs.Lanes() {
				for _, took := range []time.Duration{time.Millisecond, 20 * time.Millisecond} {
					t.Run(fmt.Sprintf("%d calls, headers %t, %s, %s", capacity, headers, lane, took), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							const workers = 3
							api := &quietAPI{took: took, capacity: capacity, every: 100 * time.Millisecond, headers: headers, document: true}
							newCrowd(t, api, workers, false).drain(t, 150, lane)
							if api.refused > workers {
								t.Errorf("%d refusals, want at most %d", api.refused, workers)
							}
						})
					})
				}
			}
		}
	}
}

// TestOnlyRefusals: an API that says nothing but 429s is asked by one call of the fleet, ever less often.
func TestOnlyRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers = 3
		api := &quietAPI{capacity: 1, every: 1000 * time.Hour, took: time.Millisecond}
		c := newCrowd(t, api, workers, false)
		api.tokens, api.filled = 0, time.Now()
		end := time.Now().Add(time.Minute)
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				j := job(t, kinds.X509Disable, "service")
				for client := c.clients[i%workers]; time.Now().Before(end); {
					if at := client.Permit(t.Context(), j).At; at.After(time.Now()) {
						pass(time.Until(at))
						continue
					}
					revokeFails(t, client, j)
				}
			})
		}
		all.Wait()
		// One for each worker, and then after 1, 10, 20 and 40 s.
		if api.refused > workers+4 {
			t.Errorf("%d calls in a minute, want at most %d", api.refused, workers+4)
		}
	})
}
