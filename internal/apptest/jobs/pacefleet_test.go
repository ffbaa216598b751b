package jobs_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rekey/internal/apptest"
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
func (r *rated) reply(*apptest.Call) *apptest.Reply {
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
		limited := apptest.RetryAfter(429, "1")
		return &limited
	}
	r.tokens--
	return &apptest.Reply{Status: 204}
}

func (r *rated) refusals() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// limited is a rig whose bucket of JWKS and identity providers is this one, and known.
func limitedRig(t *testing.T, capacity int, every time.Duration) (*apptest.Rig, *apptest.StandIn, *rated) {
	t.Helper()
	rig, atlas := apptest.StandInRig(t)
	bucket := newRated(capacity, every)
	atlas.Script("/jwks", apptest.Reply{Write: bucket.reply}.Always())
	rig.Cfg.Atlas.RateLimits.Sets = map[string]config.RateLimit{"federation_account": {Capacity: capacity, Refill: 1, Every: every}}
	return rig, atlas, bucket
}

// TestFleetKeepsToABucket empties a list with two workers: no call is refused, the jobs wait in
// the queue and not in slots, and the commands tell of it.
func TestFleetKeepsToABucket(t *testing.T) {
	t.Parallel()
	// The half that is kept for urgent jobs makes room for the hiccups of a busy machine.
	rig, atlas, bucket := limitedRig(t, 20, 250*time.Millisecond) // Slower than a busy machine.
	rig.Cfg.Atlas.RateLimits.UrgentShare = 50
	rig.Cfg.Worker.Concurrency = 2
	w, second := apptest.TwoWorkers(t, rig)
	const list = 40
	for n := range list {
		w.Publish("rotation", apptest.JwksRevoke(apptest.HexID(n)).With("lane", "bulk").String())
	}
	client := w.Operator()
	defer client.Close()
	apptest.Eventually(t, "jobs that wait for their turn", func() bool {
		buckets, err := client.Buckets(t.Context())
		return err == nil && len(buckets) > 0 && buckets[0].Planned > 0
	})
	buckets, err := client.Buckets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b := buckets[0]; b.Bucket != "federation_account/"+apptest.ClientID || b.Source != pace.SourceConfig || b.Capacity != 20 || b.EveryMS != 250 {
		t.Errorf("the bucket is %+v", b)
	}
	// A job of another bucket is delayed by none of them.
	w.Publish("rotation", apptest.X509Disable(apptest.HexID(1000)).With("lane", "bulk").String())
	w.ResultOf(apptest.HexID(1000))
	if done := w.Count("REKEY_RESULTS"); done > list {
		t.Error("the job of another bucket waited for all others")
	}
	results := w.Results(list + 1)
	if got := bucket.refusals(); got != 0 {
		t.Errorf("%d calls were refused, want none", got)
	}
	var handed []int
	for _, r := range results {
		if r.Record.Outcome != jobs.OutcomeRevoked || r.Record.AttemptCount != 1 || r.Record.Paced {
			t.Errorf("%s is %s after %d attempts", r.Record.Target, r.Record.Outcome, r.Record.AttemptCount)
		}
		handed = append(handed, int(r.Record.Deliveries))
	}
	slices.Sort(handed)
	if handed[0] < 1 || handed[len(handed)/2] > 2 {
		t.Errorf("the jobs were handed over %v times, want twice in the middle", handed)
	}
	calls := atlas.Requests("/jwks")
	if took := calls[len(calls)-1].At.Sub(calls[0].At); took < 5*time.Second {
		t.Errorf("%d calls took %s, and the bucket allows them in 5s", len(calls), took)
	}
	if sent := w.Metrics()[`rekey_atlas_calls_delayed_total{bucket="federation_account",lane="bulk"}`] +
		second.Connected(t).Metrics()[`rekey_atlas_calls_delayed_total{bucket="federation_account",lane="bulk"}`]; sent == 0 {
		t.Error("no job was sent away")
	}
}

// TestFleetSharesOneToken: two workers that start at once ask for one bearer token.
func TestFleetSharesOneToken(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	rig.Cfg.Worker.Concurrency = 2
	atlas.Script("/userSecurity", apptest.Reply{Delay: 50 * time.Millisecond}.Always()) // Enough for both to get some.
	w, _ := apptest.TwoWorkers(t, rig)
	const all = 40
	for n := range all {
		w.Publish("rotation", apptest.X509Disable(apptest.HexID(n)).String())
	}
	workers := map[string]bool{}
	for _, r := range w.Results(all) {
		workers[r.Record.Attempts[0].Worker] = true
	}
	if got := len(atlas.Requests(apptest.TokenPath)); got != 1 || len(workers) != 2 {
		t.Errorf("%d tokens were asked for by %d workers, want 1 by 2", got, len(workers))
	}
	if msgs := w.Messages("KV_REKEY_TOKENS"); len(msgs) == 0 {
		t.Error("no token is shared")
	} else if token := apptest.BearerToken(1); strings.Contains(string(msgs[len(msgs)-1].Data), token) {
		t.Errorf("the token is stored in the clear: %s", msgs[len(msgs)-1].Data)
	}
}

// TestPauseSurvivesARestart: no call of the bucket is made before the moment, by a worker that was
// not there when it was announced.
func TestPauseSurvivesARestart(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	atlas.Script(apptest.HexID(1), apptest.RetryAfter(429, "4"))
	w := rig.Start(t)
	w.Publish("incident", apptest.JwksRevoke(apptest.HexID(1)).String())
	w.RecordOf(apptest.HexID(1), apptest.HasFailed) // On a busy machine it may not wait any more: that it did is what stays.
	w.Stop()
	opens := atlas.Requests(apptest.HexID(1))[0].Answered.Add(4 * time.Second)
	w = rig.Start(t)
	w.Publish("incident", apptest.JwksRevoke(apptest.HexID(2)).String())
	for _, idp := range []string{apptest.HexID(2), apptest.HexID(1)} {
		w.ResultOf(idp)
		calls := atlas.Requests(idp)
		if last := calls[len(calls)-1]; last.At.Before(opens) {
			t.Errorf("%s was called %s before the bucket opened", last.URI, opens.Sub(last.At))
		}
	}
}

// TestLiftedJobTakesAnEarlierTurn: a bulk job at the end of the line that an incident asks for as
// well is called at once, with a call that was kept for it.
func TestLiftedJobTakesAnEarlierTurn(t *testing.T) {
	t.Parallel()
	// Half is kept for urgent jobs: on a slow machine, a job whose permit was too old draws on that as well.
	rig, atlas, bucket := limitedRig(t, 8, time.Minute) // No call comes back to the bucket during the test.
	rig.Cfg.Atlas.RateLimits.UrgentShare = 50
	w := rig.Start(t)
	for n := range 6 {
		w.Publish("rotation", apptest.JwksRevoke(apptest.HexID(n)).With("lane", "bulk").String())
	}
	atlas.Await(t, "/jwks", 4)
	client := w.Operator()
	defer client.Close()
	apptest.Eventually(t, "two jobs that wait", func() bool {
		buckets, err := client.Buckets(t.Context())
		return err == nil && len(buckets) == 1 && buckets[0].Planned == 2
	})
	called := func(n int) bool { return len(atlas.Requests(apptest.HexID(n))) > 0 }
	last := slices.IndexFunc([]int{5, 4, 3, 2, 1, 0}, func(n int) bool { return !called(n) })
	lifted := apptest.HexID(5 - last)
	asked := time.Now()
	w.Publish("incident", apptest.JwksRevoke(lifted).String())
	call := atlas.Await(t, lifted, 1)[0]
	if waited := call.At.Sub(asked); waited > apptest.Patience {
		t.Errorf("the call came %s after the incident, want at once", waited)
	}
	if got := bucket.refusals(); got != 0 {
		t.Errorf("%d calls were refused, want none", got)
	}
}
