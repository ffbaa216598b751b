package jobs

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Errors of the stores that callers branch on.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("revision conflict")
)

// Entry is a record with the revision under which the ledger holds it.
type Entry struct {
	Record   Record
	Revision uint64
}

// Ledger keeps one record for each job. Load returns ErrNotFound; Create and Update
// return ErrConflict when another writer was faster. Age tells by the ledger's own clock
// how long ago the entry was written, or returns ErrConflict when it is not the latest: the
// clocks of two workers may differ by more than a lease is long.
type Ledger interface {
	Load(ctx context.Context, id string) (Entry, error)
	Create(ctx context.Context, r Record) (Entry, error)
	Update(ctx context.Context, e Entry) (Entry, error)
	Age(ctx context.Context, e Entry) (time.Duration, error)
}

// mostFresh bounds what a Fresh keeps.
const mostFresh = 1024

// Fresh has the records that this worker made last, and those that it is making, so that the first delivery of a job needs no read of the
// ledger. Others may have changed them since: what is decided by one counts only once the ledger has taken a write over its revision. The
// zero Fresh is empty, and a nil one stays so. It may be used by several goroutines at once.
type Fresh struct {
	mu      sync.Mutex // Guards what follows.
	entries map[string]*freshEntry
	ids     [mostFresh]string // A ring: the next one takes the place of the oldest.
	next    int
}

// freshEntry is a record that is there once made is closed, or then is not.
type freshEntry struct {
	made  chan struct{}
	entry Entry
	ok    bool
}

// making says that a record is being written. The returned function must be called with what came of it.
func (f *Fresh) making(id string) (made func(Entry, error)) {
	if f == nil {
		return func(Entry, error) {}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.entries == nil {
		f.entries = make(map[string]*freshEntry, mostFresh)
	}
	one := &freshEntry{made: make(chan struct{})}
	delete(f.entries, f.ids[f.next])
	f.ids[f.next] = id
	f.next = (f.next + 1) % mostFresh
	f.entries[id] = one
	return func(e Entry, err error) {
		one.entry, one.ok = e, err == nil
		close(one.made)
	}
}

// take returns a record once. It waits for one that is being written.
func (f *Fresh) take(ctx context.Context, id string) (Entry, bool) {
	if f == nil {
		return Entry{}, false
	}
	f.mu.Lock()
	one := f.entries[id]
	delete(f.entries, id)
	f.mu.Unlock()
	if one == nil {
		return Entry{}, false
	}
	select {
	case <-one.made:
		return one.entry, one.ok
	case <-ctx.Done():
		return Entry{}, false
	}
}

// Holder is which job has a target.
type Holder struct {
	JobID string    `json:"job_id"`
	At    time.Time `json:"at"` // When the job took it.
	// Revoked is an earlier job on this target that ended as revoked, if there is one.
	Revoked string `json:"revoked,omitempty"`
	// Others are jobs on this target that were unfinished when JobID, which could not join them,
	// took over: the latest ones, at most maxOthers.
	Others []string `json:"others,omitempty"`

	Revision uint64 `json:"-"`
}

// maxOthers bounds the other jobs that a Holder remembers. An event finds no older one to join, and
// has a job of its own.
const maxOthers = 8

// jobs are all jobs that it names, the holder first.
func (h *Holder) jobs() []string {
	if h.JobID == "" {
		return nil
	}
	return append([]string{h.JobID}, h.Others...)
}

// Targets keeps which job has which target, and which events' jobs were joined into
// another. Load and Joined return ErrNotFound; Save returns ErrConflict when the entry's
// revision is not the latest (0: when there is an entry). Age is as that of a Ledger.
type Targets interface {
	Load(ctx context.Context, key string) (Holder, error)
	Save(ctx context.Context, key string, h Holder) error
	Age(ctx context.Context, key string, h Holder) (time.Duration, error)
	Joined(ctx context.Context, jobID string) (string, error)
	Join(ctx context.Context, jobID, into string) error
}

// Queue takes jobs for the workers. Putting the same job twice is harmless.
type Queue interface {
	Enqueue(ctx context.Context, j Job) error
}

// Accounts knows the configured accounts.
type Accounts interface {
	// Resolve returns the account for a request that names one or none, or a *Malformed.
	Resolve(kind Kind, name string) (string, error)
}
