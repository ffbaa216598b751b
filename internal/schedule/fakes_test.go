package schedule

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/jobs"
)

// memoryStore is a Store with the real one's conflicts. States go through JSON, as they do in the real one.
type memoryStore struct {
	// fail, if set, may make a call ("load" or "save") fail.
	fail func(call string) error

	// mu guards records and saves.
	mu      sync.Mutex
	records map[string]record
	saves   int
}

type record struct {
	text     []byte
	revision uint64
}

func (m *memoryStore) Load(ctx context.Context, name string) (state State, revision uint64, err error) {
	if err := m.check(ctx, "load"); err != nil {
		return State{}, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	rec, ok := m.records[name]
	if !ok {
		return State{}, 0, nil
	}
	err = json.Unmarshal(rec.text, &state)
	return state, rec.revision, err
}

func (m *memoryStore) Save(ctx context.Context, name string, state State, revision uint64) (uint64, error) {
	if err := m.check(ctx, "save"); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records[name].revision != revision {
		return 0, fmt.Errorf("saving %s at revision %d: %w", name, revision, jobs.ErrConflict)
	}
	text, err := json.Marshal(state)
	if err != nil {
		return 0, err
	}
	if m.records == nil {
		m.records = map[string]record{}
	}
	m.saves++
	m.records[name] = record{text: text, revision: revision + 1}
	return revision + 1, nil
}

// check fails as a call over the network would.
func (m *memoryStore) check(ctx context.Context, call string) error {
	if ctx.Err() != nil || m.fail == nil {
		return ctx.Err()
	}
	return m.fail(call)
}

// state returns what is stored, without the decisions and jobs.
func (m *memoryStore) state(t *testing.T, name string) State {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var state State
	if err := json.Unmarshal(m.records[name].text, &state); err != nil {
		t.Fatalf("reading the stored state of %s: %v", name, err)
	}
	state.Recent, state.LastJob, state.LastJobAt = nil, "", time.Time{}
	return state
}

// put stores a state as an earlier worker would have.
func (m *memoryStore) put(t *testing.T, name string, state State) {
	t.Helper()
	if _, err := m.Save(t.Context(), name, state, 0); err != nil {
		t.Fatal(err)
	}
}

// notebook is a Firer, a Recorder and a Jobs that writes everything down.
type notebook struct {
	// fail, if set, may make an attempt fail.
	fail func(ctx context.Context, tick Tick) error
	// unfinished, if set, says which jobs have no outcome yet.
	unfinished func(id string) (bool, error)

	// job, if set, names the job of a tick.
	job func(tick Tick) string

	// mu guards the rest.
	mu sync.Mutex
	// attempts and fired have lines "schedule tick @ time of the call".
	attempts, fired []string
	// ticks are the nominal times of what fired.
	ticks  []time.Time
	missed map[string]int
	// skipped has lines "schedule reason".
	skipped    []string
	paused     map[string]bool
	last, next map[string]time.Time
}

const clockFormat = "15:04:05"

func (n *notebook) Fire(ctx context.Context, tick Tick) error {
	line := fmt.Sprintf("%s %s @ %s", tick.Schedule, tick.At.Format("15:04"), time.Now().UTC().Format(clockFormat))
	n.mu.Lock()
	n.attempts = append(n.attempts, line)
	n.mu.Unlock()
	if n.fail != nil {
		if err := n.fail(ctx, tick); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fired = append(n.fired, line)
	n.ticks = append(n.ticks, tick.At)
	return nil
}

func (n *notebook) Job(tick Tick) string {
	if n.job != nil {
		return n.job(tick)
	}
	return tick.Schedule + " " + tick.At.Format("15:04")
}

func (n *notebook) Unfinished(_ context.Context, id string, _ time.Time) (bool, error) {
	if n.unfinished == nil {
		return false, nil
	}
	return n.unfinished(id)
}

func (n *notebook) ScheduleSkipped(name, reason string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.skipped = append(n.skipped, name+" "+reason)
}

func (n *notebook) SchedulePaused(name string, paused bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.paused == nil {
		n.paused = map[string]bool{}
	}
	n.paused[name] = paused
}

func (n *notebook) ScheduleFired(name string, at time.Time) { n.set(&n.last, name, at) }

func (n *notebook) ScheduleNext(name string, at time.Time) { n.set(&n.next, name, at) }

func (n *notebook) ScheduleMissed(name string, count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.missed == nil {
		n.missed = map[string]int{}
	}
	n.missed[name] += count
}

func (n *notebook) set(times *map[string]time.Time, name string, at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if *times == nil {
		*times = map[string]time.Time{}
	}
	(*times)[name] = at
}

// build returns a scheduler that uses the two fakes.
func build(t *testing.T, store *memoryStore, notes *notebook, specs ...Spec) *Scheduler {
	t.Helper()
	s, err := New(Config{Schedules: specs, Fire: notes, Store: store, Jobs: notes, Metrics: notes, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// runFor runs the schedulers together for d. Call it in a bubble.
func runFor(t *testing.T, d time.Duration, schedulers ...*Scheduler) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var running sync.WaitGroup
	for _, s := range schedulers {
		running.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	running.Wait()
	synctest.Wait()
}

// wait lets time pass. Call it in a bubble.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	if err := backoff.Sleep(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// union returns what any of the workers fired, each once, by the time of the call.
func union(all ...*notebook) []string {
	var fired []string
	for _, notes := range all {
		fired = append(fired, notes.fired...)
	}
	slices.SortFunc(fired, func(a, b string) int {
		_, atA, _ := strings.Cut(a, "@")
		_, atB, _ := strings.Cut(b, "@")
		return cmp.Or(strings.Compare(atA, atB), strings.Compare(a, b))
	})
	return slices.Compact(fired)
}
