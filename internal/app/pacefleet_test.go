package app_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/pace"
)

// rated is a token bucket of the API: it holds so many calls, and gets one back each while.
type rated struct {
	mu       sync.Mutex
	capacity int
	every    time.Duration
	tokens   int
	filled   time.Time
	refused  int
}

func newRated(capacity int, every time.Duration) *rated {
	return &rated{capacity: capacity, every: every, tokens: capacity}
}

// reply takes a token, or refuses.
func (r *rated) reply(*call) *reply {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.filled.IsZero() {
		r.filled = now
	}
	periods := now.Sub(r.filled) / r.every
	r.filled = r.filled.Add(periods * r.every)
	r.tokens = min(r.capacity, r.tokens+int(periods))
	if r.tokens == 0 {
		r.refused++
		limited := retryAfter(429, "1")
		return &limited
	}
	r.tokens--
	return &reply{status: 204}
}

func (r *rated) refusals() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// limited is a rig whose bucket of JWKS and identity providers is this one, and known.
func limitedRig(t *testing.T, capacity int, every time.Duration) (*rig, *standIn, *rated) {
	t.Helper()
	rig, atlas := standInRig(t)
	bucket := newRated(capacity, every)
	atlas.script("/jwks", reply{write: bucket.reply}.always())
	rig.cfg.Atlas.RateLimits.FederationAccount = config.RateLimit{Capacity: capacity, Refill: 1, Every: every}
	return rig, atlas, bucket
}

// TestFleetKeepsToABucket empties a list with two workers: no call is refused, the jobs wait in
// the queue and not in slots, and the commands tell of it.
func TestFleetKeepsToABucket(t *testing.T) {
	t.Parallel()
	// The half that is kept for urgent jobs makes room for the hiccups of a busy machine.
	rig, atlas, bucket := limitedRig(t, 20, 100*time.Millisecond)
	rig.cfg.Atlas.RateLimits.UrgentShare = 50
	rig.cfg.Worker.Concurrency = 2
	w, second := twoWorkers(t, rig)
	const list = 40
	for n := range list {
		w.publish("rotation", jwksRevoke(hexID(n)).with("lane", "bulk").String())
	}
	client := w.operator()
	defer client.Close()
	eventually(t, "jobs that wait for their turn", func() bool {
		buckets, err := client.Buckets(t.Context())
		return err == nil && len(buckets) > 0 && buckets[0].Waiting > 0
	})
	buckets, err := client.Buckets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b := buckets[0]; b.Bucket != "federation_account/"+clientID || b.Source != pace.SourceConfig || b.Capacity != 20 || b.EveryMS != 100 {
		t.Errorf("the bucket is %+v", b)
	}
	// A job of another bucket is delayed by none of them.
	w.publish("rotation", x509Disable(hexID(1000)).with("lane", "bulk").String())
	w.resultOf(hexID(1000))
	if done := w.count("REKEY_RESULTS"); done > list {
		t.Error("the job of another bucket waited for all others")
	}
	results := w.results(list + 1)
	if got := bucket.refusals(); got != 0 {
		t.Errorf("%d calls were refused, want none", got)
	}
	var handed []int
	for _, r := range results {
		if r.record.Outcome != jobs.OutcomeRevoked || r.record.AttemptCount != 1 || r.record.Paced {
			t.Errorf("%s is %s after %d attempts", r.record.Target, r.record.Outcome, r.record.AttemptCount)
		}
		handed = append(handed, int(r.record.Deliveries))
	}
	slices.Sort(handed)
	if handed[0] < 1 || handed[len(handed)/2] > 2 {
		t.Errorf("the jobs were handed over %v times, want twice in the middle", handed)
	}
	calls := atlas.requests("/jwks")
	if took := calls[len(calls)-1].at.Sub(calls[0].at); took < 2*time.Second {
		t.Errorf("%d calls took %s, and the bucket allows them in 2s", len(calls), took)
	}
	if sent := w.metrics()[`rekey_atlas_calls_delayed_total{bucket="federation_account",lane="bulk"}`] +
		second.connected(t).metrics()[`rekey_atlas_calls_delayed_total{bucket="federation_account",lane="bulk"}`]; sent < list/2 {
		t.Errorf("%v jobs were sent away, want at least %d", sent, list/2)
	}
}

// TestFleetSharesOneToken: two workers that start at once ask for one bearer token.
func TestFleetSharesOneToken(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	rig.cfg.Worker.Concurrency = 2
	atlas.script("/userSecurity", reply{delay: 50 * time.Millisecond}.always()) // Enough for both to get some.
	w, _ := twoWorkers(t, rig)
	const all = 40
	for n := range all {
		w.publish("rotation", x509Disable(hexID(n)).String())
	}
	workers := map[string]bool{}
	for _, r := range w.results(all) {
		workers[r.record.Attempts[0].Worker] = true
	}
	if got := len(atlas.requests(tokenPath)); got != 1 || len(workers) != 2 {
		t.Errorf("%d tokens were asked for by %d workers, want 1 by 2", got, len(workers))
	}
	if msgs := w.messages("KV_REKEY_TOKENS"); len(msgs) == 0 {
		t.Error("no token is shared")
	} else if token := bearerToken(1); strings.Contains(string(msgs[len(msgs)-1].Data), token) {
		t.Errorf("the token is stored in the clear: %s", msgs[len(msgs)-1].Data)
	}
}

// TestPauseSurvivesARestart: no call of the bucket is made before the moment, by a worker that was
// not there when it was announced.
func TestPauseSurvivesARestart(t *testing.T) {
	t.Parallel()
	rig, atlas := standInRig(t)
	atlas.script(hexID(1), retryAfter(429, "4"))
	w := rig.start(t)
	w.publish("incident", jwksRevoke(hexID(1)).String())
	w.recordOf(hexID(1), func(r jobs.Record) bool { return r.State == jobs.StateWaiting })
	w.stop()
	opens := atlas.requests(hexID(1))[0].answered.Add(4 * time.Second)
	w = rig.start(t)
	w.publish("incident", jwksRevoke(hexID(2)).String())
	for _, idp := range []string{hexID(2), hexID(1)} {
		w.resultOf(idp)
		calls := atlas.requests(idp)
		if last := calls[len(calls)-1]; last.at.Before(opens) {
			t.Errorf("%s was called %s before the bucket opened", last.uri, opens.Sub(last.at))
		}
	}
}

// TestLiftedJobTakesAnEarlierTurn: a bulk job at the end of the line that an incident asks for as
// well is called at once, with a call that was kept for it.
func TestLiftedJobTakesAnEarlierTurn(t *testing.T) {
	t.Parallel()
	rig, atlas, bucket := limitedRig(t, 4, 6*time.Second)
	w := rig.start(t)
	for n := range 5 {
		w.publish("rotation", jwksRevoke(hexID(n)).with("lane", "bulk").String())
	}
	atlas.await(t, "/jwks", 3)
	client := w.operator()
	defer client.Close()
	eventually(t, "two jobs that wait", func() bool {
		buckets, err := client.Buckets(t.Context())
		return err == nil && len(buckets) == 1 && buckets[0].Waiting == 2
	})
	called := func(n int) bool { return len(atlas.requests(hexID(n))) > 0 }
	last := slices.IndexFunc([]int{4, 3, 2, 1, 0}, func(n int) bool { return !called(n) })
	lifted := hexID(4 - last)
	asked := time.Now()
	w.publish("incident", jwksRevoke(lifted).String())
	call := atlas.await(t, lifted, 1)[0]
	if waited := call.at.Sub(asked); waited > 4*time.Second {
		t.Errorf("the call came %s after the incident, want at once", waited)
	}
	if got := bucket.refusals(); got != 0 {
		t.Errorf("%d calls were refused, want none", got)
	}
}
