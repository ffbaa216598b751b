package notify_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/notify"
	"rekey/internal/secret"
)

// pager is a receiver whose vendor keeps incidents, as PagerDuty does.
type pager struct {
	*notify.Deliverer
	memory *memory

	mu       sync.Mutex      // Guards what follows.
	open     map[string]bool // By dedup_key.
	requests []string        // Actions, as they came.
	status   int             // What it answers with instead; 0: it accepts.
}

func newPager(t *testing.T) *pager {
	t.Helper()
	p := &pager{memory: newMemory(), open: map[string]bool{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var got []map[string]any
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.status != 0 {
			w.WriteHeader(p.status)
			return
		}
		pagerDuty(&got)(w, r)
		for _, event := range got {
			key, action := fmt.Sprint(event["dedup_key"]), fmt.Sprint(event["event_action"])
			p.requests, p.open[key] = append(p.requests, action), action == "trigger"
		}
	}))
	t.Cleanup(server.Close)
	hook := receiver(notify.TypePagerDuty)
	hook.Key, hook.Endpoint, hook.Timeout = secret.Ref{Env: "KEY"}, server.URL+"/v2/enqueue", time.Second
	hook.Filter = notify.Filter{Outcomes: []jobs.Outcome{jobs.OutcomeRefused, jobs.OutcomeExhausted}, Verdicts: []jobs.Verdict{jobs.VerdictStillAlive, jobs.VerdictReverted}}
	var err error
	p.Deliverer, err = notify.NewDeliverer(notify.Config{
		Receiver: *hook, Sender: notify.NewSender("1", env{"KEY": pagerKey}.lookup), Store: p.memory, DeadLetters: p.memory, Recorder: p.memory, Logger: zap.NewNop(),
		Now: func() time.Time { return p.memory.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	p.memory.now = time.Now()
	return p
}

// deliver hands over a result: its place in the stream, a job, and what happened to its target, an outcome or a verdict.
func (p *pager) deliver(t *testing.T, sequence uint64, job, what string, change func(*notify.Delivery)) jobs.Settlement {
	t.Helper()
	at := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	record := jobs.PublicRecord{
		JobID: job, Kind: kinds.IDPDelete, Account: "security", Target: "federation/f/idp/i", State: jobs.StateDone, Outcome: jobs.Outcome(what), AcceptedAt: at, FinishedAt: at,
	}
	kind := "rekey.job.finished.v1"
	switch verdict := jobs.Verdict(what); {
	case what == "follows": // The verdict.
		record.Outcome, record.Proof = jobs.OutcomeRevoked, &jobs.Proof{Verdict: jobs.VerdictPending}
	case verdict.Alive() || verdict.Dead() || verdict == jobs.VerdictAccepted:
		kind, record.Outcome, record.Proof = notify.TypeProof, jobs.OutcomeRevoked, &jobs.Proof{Verdict: verdict}
	}
	data, err := json.Marshal(map[string]any{"id": fmt.Sprint(job, ".", sequence), "source": "rekey", "type": kind, "time": at, "data": record})
	if err != nil {
		t.Fatal(err)
	}
	d := notify.Delivery{Data: data, Key: fmt.Sprint(sequence), Sequence: sequence, Since: p.memory.now, Count: 1}
	if change != nil {
		change(&d)
	}
	settlement, err := p.Deliver(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return settlement
}

// isOpen reports whether an incident is open at the vendor.
func (p *pager) isOpen() bool {
	for _, open := range p.open {
		if open {
			return true
		}
	}
	return false
}

// TestAFloodOnOneTarget: notifications of one incident that follow each other at once do not wait for each other, also after one that was given up:
// they would take the places of those of other incidents.
func TestAFloodOnOneTarget(t *testing.T) {
	t.Parallel()
	p := newPager(t)
	for i, what := range []string{"refused", "refused", "exhausted", "revoked"} {
		p.status = map[int]int{1: http.StatusBadRequest}[i]
		if settlement := p.deliver(t, uint64(i+1), fmt.Sprint(i), what, nil); !settlement.Done {
			t.Errorf("%s, number %d, is settled as %+v", what, i+1, settlement)
		}
	}
	if got := strings.Join(p.requests, " "); got != "trigger trigger resolve" {
		t.Errorf("the pager got %s", got)
	}
}

// TestIncidents: what a person must know opens one incident for its target; only what shows more than what opened it closes it.
func TestIncidents(t *testing.T) {
	t.Parallel()
	const follows = "follows"
	tests := []struct {
		name  string
		steps string // "JOB WHAT", with commas.
		want  string // The requests.
		open  bool
	}{
		{"a success of its own", "a revoked", "", false},
		{"a job is retried", "a refused, a revoked", "trigger resolve", false},
		{"another job of the same target", "a exhausted, b already_gone", "trigger resolve", false},
		{"a success that is to be proven", "a refused, a " + follows, "trigger", true},
		{"a success that is proven", "a refused, a " + follows + ", a verified", "trigger resolve", false},
		{"a success that no read can show", "a refused, a " + follows + ", a recorded", "trigger resolve", false},
		{"a success that nothing shows", "a refused, a " + follows + ", a accepted", "trigger resolve", false},
		{"still alive", "a " + follows + ", a still_alive", "trigger", true},
		{"seen alive, and nothing shows that it died", "a still_alive, b " + follows + ", b accepted", "trigger", true},
		{"seen alive, and a job that is not checked", "a still_alive, b revoked", "trigger", true},
		{"seen alive, refused, and nothing shows that it died", "a still_alive, b refused, c accepted", "trigger trigger", true},
		{"seen alive, then dead", "a still_alive, b verified", "trigger resolve", false},
		{"back, and gone for good", "a verified, a reverted, b verified", "trigger resolve", false},
		{"back after it was closed", "a refused, a verified, a reverted", "trigger resolve trigger", true},
		{"two jobs of one target", "a refused, b exhausted, b revoked", "trigger trigger resolve", false},
		{"one success closes it once", "a refused, a revoked, b revoked", "trigger resolve", false},
		{"cancelled by an operator", "a cancelled", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPager(t)
			for i, step := range strings.Split(tt.steps, ", ") {
				job, what, _ := strings.Cut(step, " ")
				p.memory.now = p.memory.now.Add(time.Minute)
				if settlement := p.deliver(t, uint64(i+1), job, what, nil); !settlement.Done {
					t.Fatalf("step %q is settled with %+v", step, settlement)
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(p.requests, " ")); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if p.isOpen() != tt.open || len(p.open) > 1 {
				t.Errorf("incidents: %v", p.open)
			}
			if len(p.memory.letters) > 0 {
				t.Errorf("given up: %+v", p.memory.letters)
			}
		})
	}
}

// TestIncidentsInTheOrderOfTheStream: whatever the order in which retries and workers come to results, the vendor has what the latest says.
func TestIncidentsInTheOrderOfTheStream(t *testing.T) {
	t.Parallel()
	t.Run("the opening fails, and its target is dead before it is retried", func(t *testing.T) {
		t.Parallel()
		p := newPager(t)
		p.status = http.StatusUnauthorized
		first := p.deliver(t, 1, "a", "refused", nil)
		p.status, p.memory.now = 0, p.memory.now.Add(time.Minute)
		closed := p.deliver(t, 2, "a", "verified", nil)
		p.memory.now = p.memory.now.Add(time.Minute)
		retried := p.deliver(t, 1, "a", "refused", func(d *notify.Delivery) { d.Count = 2 })
		if first.Done || !closed.Done || !retried.Done || p.isOpen() || strings.Join(p.requests, " ") != "resolve" {
			t.Errorf("settled with %+v, %+v, %+v; requests %v", first, closed, retried, p.requests)
		}
	})
	t.Run("the closing fails, and its target is back before it is retried", func(t *testing.T) {
		t.Parallel()
		p := newPager(t)
		p.deliver(t, 1, "a", "refused", nil)
		p.status, p.memory.now = http.StatusUnauthorized, p.memory.now.Add(time.Minute)
		first := p.deliver(t, 2, "a", "verified", nil)
		p.status, p.memory.now = 0, p.memory.now.Add(time.Minute)
		p.deliver(t, 3, "a", "reverted", nil)
		p.memory.now = p.memory.now.Add(time.Minute)
		retried := p.deliver(t, 2, "a", "verified", func(d *notify.Delivery) { d.Count = 2 })
		if first.Done || !retried.Done || !p.isOpen() || strings.Join(p.requests, " ") != "trigger trigger" {
			t.Errorf("settled with %+v, %+v; requests %v", first, retried, p.requests)
		}
	})
	t.Run("a retry of what failed", func(t *testing.T) {
		t.Parallel()
		p := newPager(t)
		p.status = http.StatusUnauthorized
		p.deliver(t, 1, "a", "refused", nil)
		p.status, p.memory.now = 0, p.memory.now.Add(time.Minute)
		if s := p.deliver(t, 1, "a", "refused", func(d *notify.Delivery) { d.Count = 2 }); !s.Done || !p.isOpen() {
			t.Errorf("settled with %+v", s)
		}
	})
	t.Run("another worker may be sending", func(t *testing.T) {
		t.Parallel()
		p := newPager(t)
		p.status = http.StatusUnauthorized // As good as no answer yet: it is not over.
		p.deliver(t, 1, "a", "refused", nil)
		p.status = 0
		waits := p.deliver(t, 2, "a", "verified", nil) // In the same moment.
		p.memory.now = p.memory.now.Add(waits.Delay)
		later := p.deliver(t, 2, "a", "verified", func(d *notify.Delivery) { d.Count = 2 })
		if waits.Done || waits.Delay <= 0 || waits.Delay > time.Second || !later.Done || p.isOpen() {
			t.Errorf("settled with %+v and %+v; requests %v", waits, later, p.requests)
		}
	})
	t.Run("a success that waited behind others looks twice", func(t *testing.T) {
		t.Parallel()
		p := newPager(t)
		old := func(d *notify.Delivery) { d.Since = d.Since.Add(-time.Minute) }
		waits := p.deliver(t, 2, "a", "verified", old)
		p.deliver(t, 1, "a", "refused", nil)
		p.memory.now = p.memory.now.Add(time.Minute)
		later := p.deliver(t, 2, "a", "verified", func(d *notify.Delivery) { d.Count = 2 })
		if waits.Done || waits.Delay <= 0 || !later.Done || p.isOpen() {
			t.Errorf("settled with %+v and %+v; requests %v", waits, later, p.requests)
		}
		p.memory.now = p.memory.now.Add(time.Minute)
		if s := p.deliver(t, 9, "b", "verified", func(d *notify.Delivery) { old(d); d.Count = 2 }); !s.Done {
			t.Errorf("one that has looked twice is settled with %+v", s)
		}
	})
	t.Run("an operator has it sent once more", func(t *testing.T) {
		t.Parallel()
		p := newPager(t)
		p.deliver(t, 3, "a", "verified", nil)
		if s := p.deliver(t, 0, "a", "cancelled", func(d *notify.Delivery) { d.Again = true }); !s.Done || !p.isOpen() {
			t.Errorf("settled with %+v; requests %v", s, p.requests)
		}
	})
}

// TestAPagersNewsGetOld: a success that closes nothing is never given up, however long the pager was down.
func TestAPagersNewsGetOld(t *testing.T) {
	t.Parallel()
	p := newPager(t)
	old := func(d *notify.Delivery) { d.Since, d.Count = d.Since.Add(-48*time.Hour), 2 }
	if s := p.deliver(t, 1, "a", "verified", old); !s.Done || len(p.memory.letters) > 0 {
		t.Errorf("settled with %+v, dead letters %+v", s, p.memory.letters)
	}
	if s := p.deliver(t, 2, "a", "refused", old); !s.Done || len(p.memory.letters) != 1 || p.memory.letters[0].Code != notify.CodeExhausted {
		t.Errorf("settled with %+v, dead letters %+v", s, p.memory.letters)
	}
}
