package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// errLost is what a step says that a fault was planned for.
var errLost = errors.New("no answer came")

// faultKind is what goes wrong at a step of the stores.
type faultKind string

const (
	lostRequest faultKind = "lost request" // Nothing was done and the caller hears nothing.
	lostAnswer  faultKind = "lost answer"  // It was done and the caller hears nothing.
)

func faultKinds() []faultKind { return []faultKind{lostRequest, lostAnswer} }

// memory holds what the ledger, the targets, the queue and the results of a real
// worker hold. Its writes are compare-and-set, its values go through JSON, and a fault can
// be planned for every step.
type memory struct {
	mu       sync.Mutex // Guards all below.
	values   map[string]stored
	revision uint64
	queue    []Job
	results  []Record

	steps    []string // What was asked for, in order.
	failing  func(n int, step string) faultKind
	before   func(n int) // Called before a step, without the lock.
	announce []announcement
}

// stored is one value with its revision.
type stored struct {
	data     []byte
	revision uint64
	at       time.Time
}

// announcement is one call of Announce.
type announcement struct {
	JobID   string
	Outcome Outcome
	Again   bool
}

func newMemory() *memory { return &memory{values: map[string]stored{}} }

// failStep plans one fault for the n-th step, from 0.
func (m *memory) failStep(n int, kind faultKind) {
	m.failing = func(at int, _ string) faultKind {
		if at == n {
			return kind
		}
		return ""
	}
}

// failNext plans one fault for the step that comes next.
func (m *memory) failNext(kind faultKind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failStep(len(m.steps), kind)
}

// failNamed plans one fault for the next step of that name. The number of a step does not tell
// which one it is where two are taken at once.
func (m *memory) failNamed(name string, kind faultKind) {
	failed := false
	m.failing = func(_ int, step string) faultKind {
		if step != name || failed {
			return ""
		}
		failed = true
		return kind
	}
}

// do makes a step with its effect, unless a fault is planned for it.
func (m *memory) do(ctx context.Context, step string, effect func() error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.steps)
	for m.before != nil {
		m.mu.Unlock()
		m.before(n)
		m.mu.Lock()
		if n == len(m.steps) {
			break
		}
		n = len(m.steps) // Another step was taken meanwhile: this one has the next number, whose turn it is.
	}
	m.steps = append(m.steps, step)
	var fault faultKind
	if m.failing != nil {
		fault = m.failing(n, step)
	}
	if fault == lostRequest {
		return fmt.Errorf("%s: %w", step, errLost)
	}
	err := effect()
	if fault == lostAnswer {
		return fmt.Errorf("%s: %w", step, errLost)
	}
	return err
}

// save writes a value over its revision. The caller holds the lock.
func (m *memory) save(key string, value any, revision uint64) (uint64, error) {
	if m.values[key].revision != revision {
		return 0, ErrConflict
	}
	data, err := json.Marshal(value)
	if err != nil {
		return 0, err
	}
	m.revision++
	m.values[key] = stored{data: data, revision: m.revision, at: time.Now()}
	return m.revision, nil
}

// age is how long ago a value was written, which no clock but that of the memory
// itself has a part in. The caller holds the lock.
func (m *memory) age(key string, revision uint64) (time.Duration, error) {
	if m.values[key].revision != revision {
		return 0, ErrConflict
	}
	return time.Since(m.values[key].at), nil
}

// load reads a value. The caller holds the lock.
func (m *memory) load(key string, value any) (uint64, error) {
	at, ok := m.values[key]
	if !ok {
		return 0, ErrNotFound
	}
	return at.revision, json.Unmarshal(at.data, value)
}

// memoryLedger is memory as a Ledger.
type memoryLedger struct{ *memory }

func (l memoryLedger) Load(ctx context.Context, id string) (e Entry, err error) {
	err = l.do(ctx, "ledger.load", func() (err error) {
		e.Revision, err = l.load("job."+id, &e.Record)
		return err
	})
	return e, err
}

func (l memoryLedger) Create(ctx context.Context, r Record) (Entry, error) {
	e := Entry{Record: r}
	err := l.do(ctx, "ledger.create", func() (err error) {
		e.Revision, err = l.save("job."+r.JobID, r, 0)
		return err
	})
	return e, err
}

func (l memoryLedger) Update(ctx context.Context, e Entry) (Entry, error) {
	err := l.do(ctx, "ledger.update", func() (err error) {
		e.Revision, err = l.save("job."+e.Record.JobID, e.Record, e.Revision)
		return err
	})
	return e, err
}

func (l memoryLedger) Age(ctx context.Context, e Entry) (age time.Duration, err error) {
	err = l.do(ctx, "ledger.age", func() (err error) {
		age, err = l.age("job."+e.Record.JobID, e.Revision)
		return err
	})
	return age, err
}

// memoryTargets is memory as Targets.
type memoryTargets struct{ *memory }

func (t memoryTargets) Load(ctx context.Context, key string) (h Holder, err error) {
	err = t.do(ctx, "targets.load", func() error {
		revision, err := t.load("target."+key, &h)
		h.Revision = revision
		return err
	})
	return h, err
}

func (t memoryTargets) Save(ctx context.Context, key string, h Holder) error {
	return t.do(ctx, "targets.save", func() error {
		_, err := t.save("target."+key, h, h.Revision)
		return err
	})
}

func (t memoryTargets) Age(ctx context.Context, key string, h Holder) (age time.Duration, err error) {
	err = t.do(ctx, "targets.age", func() (err error) {
		age, err = t.age("target."+key, h.Revision)
		return err
	})
	return age, err
}

func (t memoryTargets) Joined(ctx context.Context, jobID string) (into string, err error) {
	err = t.do(ctx, "targets.joined", func() error {
		_, err := t.load("joined."+jobID, &into)
		return err
	})
	return into, err
}

func (t memoryTargets) Join(ctx context.Context, jobID, into string) error {
	return t.do(ctx, "targets.join", func() error {
		_, err := t.save("joined."+jobID, into, t.values["joined."+jobID].revision)
		return err
	})
}

// Enqueue makes memory a Queue.
func (m *memory) Enqueue(ctx context.Context, j Job) error {
	return m.do(ctx, "queue.enqueue", func() error {
		m.queue = append(m.queue, j)
		return nil
	})
}

// Announce makes memory an Announcer: with again set it looks first, as the streams do.
func (m *memory) Announce(ctx context.Context, _ Job, r Record, maybeSent bool) error {
	return m.do(ctx, "announce", func() error {
		m.announce = append(m.announce, announcement{JobID: r.JobID, Outcome: r.Outcome, Again: maybeSent})
		if maybeSent && slices.ContainsFunc(m.results, func(have Record) bool { return have.JobID == r.JobID }) {
			return nil
		}
		m.results = append(m.results, r)
		return nil
	})
}

// record returns what the ledger has of a job.
func (m *memory) record(t *testing.T, id string) Record {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var r Record
	if _, err := m.load("job."+id, &r); err != nil {
		t.Fatalf("reading record %s: %v", id, err)
	}
	return r
}

// put overwrites a record, as another worker would have.
func (m *memory) put(t *testing.T, r Record) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.save("job."+r.JobID, r, m.values["job."+r.JobID].revision); err != nil {
		t.Fatalf("writing record %s: %v", r.JobID, err)
	}
}

// holder returns which job has the target of a job.
func (m *memory) holder(t *testing.T, j Job) Holder {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var h Holder
	if _, err := m.load("target."+j.TargetKey(), &h); err != nil {
		t.Fatalf("reading the holder of %s: %v", j.Target(), err)
	}
	return h
}

// jobIDs are the jobs that have a record.
func (m *memory) jobIDs() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for _, key := range slices.Sorted(maps.Keys(m.values)) {
		if id, ok := strings.CutPrefix(key, "job."); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// queued are the jobs in the queue under an id.
func (m *memory) queued(id string) []Job {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []Job
	for _, j := range m.queue {
		if j.ID == id {
			found = append(found, j)
		}
	}
	return found
}
