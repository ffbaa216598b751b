// Package ledger keeps what was asked, tried and done, one record per job, and which job
// has which target, in JetStream key-value buckets.
package ledger

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
	"rekey/internal/kv"
)

// Keep is how long a record is kept after its last change.
const Keep = 400 * 24 * time.Hour

// Config names the ledger's buckets.
type Config struct {
	Namespace string // In lower or upper case, as in "rekey".
	Replicas  int    // Default 1.
}

// Ledger is the memory of all workers. It holds no secrets: a value that is overwritten
// stays in the bucket's files until they are compacted.
type Ledger struct {
	js      jetstream.JetStream
	stream  string // Below the bucket of records.
	records *kv.Store[jobs.Record]
	targets *kv.Store[targetValue]
}

// targetValue is what a key of the targets bucket holds: the holder of a target, or for a
// joined job the one that it joined.
type targetValue struct {
	jobs.Holder
	Into string `json:"into,omitempty"`
	// Operation is what an operator did to a dead letter that belongs to no job.
	Operation *jobs.Operation `json:"operation,omitempty"`
}

// RecordsBucket is the name of a namespace's bucket of records.
func RecordsBucket(namespace string) string { return strings.ToUpper(namespace) + "_LEDGER" }

// TargetsBucket is the name of a namespace's bucket of targets.
func TargetsBucket(namespace string) string { return strings.ToUpper(namespace) + "_TARGETS" }

// recordsConfig declares the bucket of records.
func (c Config) recordsConfig() kv.Config {
	return kv.Config{
		Bucket: RecordsBucket(c.Namespace), Description: "What was asked, tried and done, one key per job.", TTL: Keep, Replicas: c.Replicas,
	}
}

// targetsConfig declares the bucket of targets.
func (c Config) targetsConfig() kv.Config {
	return kv.Config{Bucket: TargetsBucket(c.Namespace), Description: "Which job has which target.", TTL: Keep, Replicas: c.Replicas}
}

// Streams are those of the ledger's buckets.
func (c Config) Streams() []jetstream.StreamConfig {
	return []jetstream.StreamConfig{c.recordsConfig().Stream(), c.targetsConfig().Stream()}
}

// New returns the ledger on JetStream: the bucket <NAMESPACE>_LEDGER with one key per job, and <NAMESPACE>_TARGETS. It makes
// no request. Only a write makes a bucket that is missing.
func New(js jetstream.JetStream, cfg Config) *Ledger {
	return &Ledger{
		js: js, stream: "KV_" + RecordsBucket(cfg.Namespace), records: kv.New[jobs.Record](js, cfg.recordsConfig()),
		targets: kv.New[targetValue](js, cfg.targetsConfig()),
	}
}

// Look reports, as an error, why the ledger cannot be read. One that no worker has made yet is empty.
func (l *Ledger) Look(ctx context.Context) error {
	if err := l.records.Look(ctx); err != nil {
		return err
	}
	return l.targets.Look(ctx)
}

// Load returns the record of a job, or jobs.ErrNotFound.
func (l *Ledger) Load(ctx context.Context, id string) (jobs.Entry, error) {
	record, revision, err := l.records.Load(ctx, id)
	return jobs.Entry{Record: record, Revision: revision}, orNotFound(revision, err)
}

// orNotFound makes an error of a key that is missing.
func orNotFound(revision uint64, err error) error {
	if err == nil && revision == 0 {
		return jobs.ErrNotFound
	}
	return err
}

// Create writes the record of a new job, or returns jobs.ErrConflict when there is one.
func (l *Ledger) Create(ctx context.Context, r jobs.Record) (jobs.Entry, error) {
	return l.Update(ctx, jobs.Entry{Record: r})
}

// Update writes a record over the revision that it was read with, or returns
// jobs.ErrConflict.
func (l *Ledger) Update(ctx context.Context, e jobs.Entry) (jobs.Entry, error) {
	revision, err := l.records.Save(ctx, e.Record.JobID, e.Record, e.Revision)
	if err != nil {
		return jobs.Entry{}, err
	}
	e.Revision = revision
	return e, nil
}

// Age is how long ago an entry was written, by the server's clock, or jobs.ErrConflict when
// it is not the latest.
func (l *Ledger) Age(ctx context.Context, e jobs.Entry) (time.Duration, error) {
	return l.records.Age(ctx, e.Record.JobID, e.Revision)
}

// Find returns the record of a job, or of the job that it was joined into, or of the dry run
// that it became, or jobs.ErrNotFound.
func (l *Ledger) Find(ctx context.Context, id string) (jobs.PublicRecord, error) {
	record, err := l.find(ctx, id)
	if errors.Is(err, jobs.ErrNotFound) {
		return l.find(ctx, jobs.DryID(id))
	}
	return record, err
}

func (l *Ledger) find(ctx context.Context, id string) (jobs.PublicRecord, error) {
	entry, err := l.Load(ctx, id)
	if errors.Is(err, jobs.ErrNotFound) {
		into, joinedErr := l.Targets().Joined(ctx, id)
		if joinedErr != nil {
			return jobs.PublicRecord{}, joinedErr
		}
		entry, err = l.Load(ctx, into)
	}
	return entry.Record.Public(), err
}

// Watch calls found for the record of one job, now and when it has changed, until ctx ends.
func (l *Ledger) Watch(ctx context.Context, id string, found func(jobs.PublicRecord)) error {
	return l.records.Follow(ctx, id, 0, func(e kv.Entry[jobs.Record]) { found(e.Value.Public()) })
}

// Note records what an operator did to a dead letter that belongs to no job.
func (l *Ledger) Note(ctx context.Context, letter string, op jobs.Operation) error {
	return l.targets.Put(ctx, "letter."+letter, targetValue{Operation: &op})
}

// Targets is the part of the ledger that knows which job has which target.
func (l *Ledger) Targets() *Targets { return &Targets{store: l.targets} }

// Targets implements jobs.Targets.
type Targets struct {
	store *kv.Store[targetValue]
}

// Load returns the holder of a target, or jobs.ErrNotFound.
func (t *Targets) Load(ctx context.Context, key string) (jobs.Holder, error) {
	value, revision, err := t.store.Load(ctx, "target."+key)
	value.Revision = revision
	return value.Holder, orNotFound(revision, err)
}

// Save writes the holder of a target over its revision, or returns jobs.ErrConflict.
func (t *Targets) Save(ctx context.Context, key string, h jobs.Holder) error {
	_, err := t.store.Save(ctx, "target."+key, targetValue{Holder: h}, h.Revision)
	return err
}

// Age is how long ago the holder of a target was written, by the server's clock, or
// jobs.ErrConflict when it is not the latest.
func (t *Targets) Age(ctx context.Context, key string, h jobs.Holder) (time.Duration, error) {
	return t.store.Age(ctx, "target."+key, h.Revision)
}

// Joined returns the job that the given one was joined into, or jobs.ErrNotFound.
func (t *Targets) Joined(ctx context.Context, jobID string) (string, error) {
	value, revision, err := t.store.Load(ctx, "joined."+jobID)
	return value.Into, orNotFound(revision, err)
}

// Join notes that what the given job was asked for is done by another.
func (t *Targets) Join(ctx context.Context, jobID, into string) error {
	return t.store.Put(ctx, "joined."+jobID, targetValue{Into: into})
}
