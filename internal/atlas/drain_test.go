package atlas_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/atlas"
	"rekey/internal/atlas/sandbox"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/pace"
	"rekey/internal/secret"
)

// boxed passes requests on to a sandbox, each of which takes a while.
type boxed struct {
	box     *sandbox.Sandbox
	latency time.Duration
}

func (b boxed) RoundTrip(req *http.Request) (*http.Response, error) {
	pass(b.latency / 2)
	rec := httptest.NewRecorder()
	req = req.Clone(req.Context())
	req.RemoteAddr = "192.0.2.1:1024"
	b.box.ServeHTTP(rec, req)
	pass(b.latency - b.latency/2)
	return rec.Result(), nil
}

// fleet is workers that share a store and call a sandbox, in a bubble.
type fleet struct {
	box     *sandbox.Sandbox
	clients []*atlas.Client
	rec     *recorder
	stops   []func()
}

func newFleet(t *testing.T, workers int, bucket sandbox.Bucket, change func(*atlas.Config)) *fleet {
	t.Helper()
	box, err := sandbox.New(sandbox.Config{Buckets: map[string]sandbox.Bucket{sandbox.BucketX509: bucket}})
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{box: box, rec: newRecorder()}
	shared := newStore()
	for range workers {
		cfg := atlas.Config{
			BaseURL: "http://box.test", Recorder: f.rec, LookupEnv: box.Secret, Transport: boxed{box: box, latency: 4 * time.Millisecond},
			Accounts: []atlas.Account{
				{Name: "service", ClientID: sandbox.ClientID, ClientSecret: secret.Ref{Env: sandbox.ClientID}},
				{Name: "key", PublicKey: sandbox.PublicKey, PrivateKey: secret.Ref{Env: sandbox.PublicKey}},
			},
			Pace: shared, UrgentShare: 0.2, Concurrency: 1000, // The jobs of a drain hold no slots.
		}
		if change != nil {
			change(&cfg)
		}
		c := newClient(t, cfg)
		f.clients = append(f.clients, c)
		f.stops = append(f.stops, runs(t, c))
	}
	synctest.Wait()
	return f
}

func (f *fleet) stop() {
	for _, stop := range f.stops {
		stop()
	}
}

// drain does n jobs as the queue would, which hands each to any worker, and returns how often
// each was sent away.
func (f *fleet) drain(t *testing.T, n int, lane jobs.Lane) []int {
	t.Helper()
	sent := make([]int, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for {
				c := f.clients[(i+sent[i])%len(f.clients)]
				j := sandboxJob(t, kinds.X509Disable, "service", "")
				j.Lane = lane
				at := c.Permit(t.Context(), j).At
				if !at.After(time.Now()) {
					_, err := c.Revoke(context.WithoutCancel(t.Context()), j)
					if err == nil {
						return
					}
					at = failureOf(t, jobs.Answer{}, err).RetryAt
				}
				sent[i]++
				pass(time.Until(at))
			}
		})
	}
	all.Wait()
	return sent
}

func (f *fleet) calls() (through, refused int) {
	for _, r := range f.box.Requests() {
		switch {
		case r.Operation == sandbox.OperationX509Disable && r.Status == 429:
			refused++
		case r.Operation == sandbox.OperationX509Disable && r.Status == 202:
			through++
		}
	}
	return through, refused
}

// TestDrain empties a list at the very rate of the bucket, known beforehand or not.
func TestDrain(t *testing.T) {
	const n = 300
	tests := []struct {
		workers int
		bucket  sandbox.Bucket
		known   bool
		ratio   float64
	}{
		{workers: 1, bucket: sandbox.Bucket{Capacity: 20, Refill: 1, Every: 20 * time.Millisecond}, known: true, ratio: 1.03},
		{workers: 4, bucket: sandbox.Bucket{Capacity: 20, Refill: 1, Every: 20 * time.Millisecond}, known: true, ratio: 1.05},
		{workers: 4, bucket: sandbox.Bucket{Capacity: 20, Refill: 5, Every: time.Second}, known: true, ratio: 1.05},
		{workers: 4, bucket: sandbox.Bucket{Capacity: 10, Refill: 5, Every: time.Minute}, known: true, ratio: 1.05},
		{workers: 1, bucket: sandbox.Bucket{Capacity: 20, Refill: 5, Every: time.Second}, ratio: 1.1},
		{workers: 4, bucket: sandbox.Bucket{Capacity: 20, Refill: 5, Every: time.Second}, ratio: 1.1},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d workers, %+v, known %t", tt.workers, tt.bucket, tt.known), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, tt.workers, tt.bucket, func(cfg *atlas.Config) {
					if tt.known {
						limit := pace.Limit{Capacity: tt.bucket.Capacity, Refill: tt.bucket.Refill, Every: tt.bucket.Every}
						cfg.RateLimits = map[string]atlas.RateLimit{"x509_project": {Limit: limit}}
					}
				})
				defer f.stop()
				start := time.Now()
				sent := f.drain(t, n, jobs.LaneBulk)
				took := time.Since(start)
				periods := math.Ceil(float64(n-tt.bucket.Capacity) / float64(tt.bucket.Refill))
				ideal := time.Duration(periods) * tt.bucket.Every
				through, refused := f.calls()
				if ratio := took.Seconds() / ideal.Seconds(); ratio > tt.ratio || through != n {
					t.Errorf("%d calls took %s, %.3f times the ideal %s, want %.2f", through, took, ratio, ideal, tt.ratio)
				}
				most := 0
				if !tt.known {
					most = tt.workers
				}
				if refused > most || f.rec.limited["x509_project true"] != 0 {
					t.Errorf("%d calls were refused, want at most %d, and none foreseeable: %v", refused, most, f.rec.limited)
				}
				often := 0
				for _, times := range sent {
					if times > 2 {
						often++
					}
				}
				if often > n/20 {
					t.Errorf("%d of %d jobs were sent away more than twice", often, n)
				}
			})
		})
	}
}

// TestUrgentAmongBulk: in the middle of a drain an urgent job calls at once, as long as the kept
// share lasts, and then takes the next token that comes.
func TestUrgentAmongBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := sandbox.Bucket{Capacity: 10, Refill: 1, Every: time.Second}
		f := newFleet(t, 2, bucket, func(cfg *atlas.Config) {
			cfg.RateLimits = map[string]atlas.RateLimit{"x509_project": {Limit: pace.Limit{Capacity: 10, Refill: 1, Every: time.Second}}}
		})
		defer f.stop()
		var bulk sync.WaitGroup
		bulk.Go(func() { f.drain(t, 60, jobs.LaneBulk) })
		pass(20 * time.Second)
		for i, most := range []time.Duration{0, 0, 1, 1, 1} {
			start := time.Now()
			f.drain(t, 1, jobs.LaneUrgent)
			if waited := time.Since(start) - 4*time.Millisecond; waited > most*time.Second {
				t.Errorf("urgent job %d waited %s, want at most %ds", i, waited, most)
			}
		}
		bulk.Wait()
		if _, refused := f.calls(); refused != 0 {
			t.Errorf("%d calls were refused", refused)
		}
	})
}
