package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/direct"
	"rekey/internal/jobs"
)

// How the index follows the ledger. A list reads what the index does not cover from the
// ledger itself, so that the index need not be close behind; the further it is, the fewer
// revisions of one job it meets.
const (
	lookEvery      = 2 * time.Second // How often the worker looks.
	indexBehind    = 4096            // Revisions that the ledger must be ahead.
	partRows       = 2000
	snapshotAfter  = 20_000 // Rows in parts since the last snapshot, and
	snapshotFactor = 2      // so many times as many as the snapshot has.
)

// Indexer writes the index behind the ledger. Any number of workers may do it at once: who
// finds that another was faster goes on from there.
type Indexer struct {
	index *Index
	log   *zap.Logger
	// As the constants above; tests have smaller ones.
	Every    time.Duration
	Behind   uint64
	Part     int
	Snapshot int

	through uint64 // As far as this worker knows the index.
	checked bool   // The index was found to be whole.
}

// NewIndexer returns the writer of an index.
func NewIndexer(x *Index, log *zap.Logger) *Indexer {
	return &Indexer{
		index: x, log: log.Named("index"), Every: lookEvery, Behind: indexBehind, Part: partRows, Snapshot: snapshotAfter,
	}
}

// Run keeps the index behind the ledger until ctx ends.
func (i *Indexer) Run(ctx context.Context) error {
	failing := false
	for {
		err := i.Advance(ctx)
		if errors.Is(err, jobs.ErrConflict) { // Another worker was faster.
			err = nil
		}
		if err != nil && !failing && ctx.Err() == nil { // Once: a full store stays full for a while.
			i.log.Warn("the index of the ledger falls behind; lists take longer", zap.Error(err))
		}
		failing = err != nil
		// Workers that were started together look one after the other.
		if backoff.Sleep(ctx, i.Every/2+rand.N(i.Every)) != nil { //nolint:gosec // Jitter needs no secrecy.
			return nil //nolint:nilerr // The end of ctx is how it ends.
		}
	}
}

// Advance brings the index up to the ledger when it is far enough behind.
func (i *Indexer) Advance(ctx context.Context) error {
	at, err := direct.PositionOf(ctx, i.index.js, i.index.cfg.Ledger)
	if err != nil || at.Last < i.through+i.Behind && at.Last >= i.through {
		return err
	}
	last, err := i.open(ctx, at)
	for err == nil && at.Last >= last.Through+i.Behind && ctx.Err() == nil {
		before := last.Through
		if last, err = i.addPart(ctx, last, at); err == nil && last.Since > max(i.Snapshot, snapshotFactor*last.SnapshotRows) {
			last, err = i.addSnapshot(ctx, last, at)
		}
		if last.Through == before {
			break // Nothing is there to read.
		}
	}
	i.through = last.Through
	return err
}

// open returns the summary of the latest part, or one before the first part when there is
// no index that can be used. It creates the stream where it is missing.
func (i *Indexer) open(ctx context.Context, at direct.Position) (Summary, error) {
	x := i.index
	stream, err := x.js.CreateStream(ctx, x.StreamConfig())
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		stream, err = x.js.Stream(ctx, x.Stream)
	}
	if err != nil {
		return Summary{}, fmt.Errorf("creating stream %s: %w", x.Stream, err)
	}
	end := stream.CachedInfo().State.LastSeq
	last, err := i.latest(ctx, stream, at)
	if errors.Is(err, ErrNoIndex) {
		last, err = Summary{Ledger: at.Created, Snapshot: end + 1}, nil
	}
	// Rows that a lost worker has left without a summary may follow the summary.
	last.seq = max(last.seq, end)
	return last, err
}

// latest returns the latest summary, or ErrNoIndex. The first time it looks at all of them.
func (i *Indexer) latest(ctx context.Context, stream jetstream.Stream, at direct.Position) (Summary, error) {
	if !i.checked {
		parts, err := i.index.Load(ctx, at)
		if err != nil {
			return Summary{}, err
		}
		i.checked = true
		return parts[len(parts)-1], nil
	}
	msg, err := stream.GetLastMsgForSubject(ctx, i.index.SummarySubject())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Summary{}, ErrNoIndex
	}
	if err != nil {
		return Summary{}, fmt.Errorf("reading the index: %w", err)
	}
	last, err := decodeSummary(msg.Sequence, msg.Data)
	if err == nil && !last.fits(at) {
		err = ErrNoIndex
	}
	return last, err
}

// errEnough ends a sweep.
var errEnough = errors.New("enough")

// addPart writes the next part and returns its summary.
func (i *Indexer) addPart(ctx context.Context, last Summary, at direct.Position) (Summary, error) {
	x, next := i.index, last
	next.From, next.Body = last.Through, 0
	rows, through, err := i.read(ctx, last.Through, at)
	if err != nil || through == last.Through {
		return last, err
	}
	next.Through = through
	next.summarize(rows)
	next.Since += len(rows)
	if len(rows) > 0 {
		if next.seq, err = i.publishRows(ctx, x.RowsSubject(), rows, last.seq); err != nil {
			return last, err
		}
		next.Body = next.seq
	}
	if err := i.publishSummary(ctx, &next); err != nil {
		return last, err
	}
	if next.From == 0 { // Earlier messages belong to an index that was deleted.
		return next, i.drop(ctx, ">", next.Snapshot)
	}
	return next, nil
}

// read returns rows of the ledger's revisions after from, and through which one they go.
func (i *Indexer) read(ctx context.Context, from uint64, at direct.Position) ([]Row, uint64, error) {
	rows, through := make([]Row, 0, i.Part), from
	_, err := direct.Read(ctx, i.index.js, direct.Query{Stream: i.index.cfg.Ledger, From: from + 1, Until: at.Reached()}, func(m direct.Message) error {
		through = m.Seq
		if m.Header.Get("KV-Operation") == "" {
			r, err := NewRow(m.Seq, m.Data)
			if err != nil {
				i.log.Warn("a record of the ledger cannot be read and is in no list", zap.Error(err))
				return nil
			}
			rows = append(rows, r)
		}
		if len(rows) >= i.Part {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return rows, through, err
}

// drop deletes messages below a sequence.
func (i *Indexer) drop(ctx context.Context, subject string, below uint64) error {
	stream, err := i.index.js.Stream(ctx, i.index.Stream)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(below))
	}
	if err != nil {
		return fmt.Errorf("dropping what is old in the index: %w", err)
	}
	return nil
}

func (i *Indexer) publishRows(ctx context.Context, subject string, rows []Row, after uint64) (uint64, error) {
	data, err := EncodeRows(rows)
	if err != nil {
		return 0, err
	}
	return i.index.publish(ctx, subject, data, after)
}

func (i *Indexer) publishSummary(ctx context.Context, s *Summary) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding a summary of the index: %w", err)
	}
	s.seq, err = i.index.publish(ctx, i.index.SummarySubject(), data, s.seq)
	return err
}

// addSnapshot writes the rows of all unfinished jobs anew, so that a list of these need not
// read what was before, and drops the snapshot before.
func (i *Indexer) addSnapshot(ctx context.Context, last Summary, at direct.Position) (Summary, error) {
	live := map[string]uint64{} // The latest revision of every unfinished job.
	err := i.index.Unfinished(ctx, &last, func(r Row) error {
		if r.State == jobs.StateDone || r.Revision < at.First { // What has expired has no end.
			delete(live, r.ID)
		} else {
			live[r.ID] = r.Revision
		}
		return nil
	})
	if err != nil {
		return last, err
	}
	next := Summary{
		Ledger: last.Ledger, From: last.Through, Through: last.Through,
		Snapshot: last.seq + 1, SnapshotRows: len(live), seq: last.seq,
	}
	if next.seq, err = i.publishLive(ctx, &last, live); err != nil {
		return last, err
	}
	if err := i.publishSummary(ctx, &next); err != nil {
		return last, err
	}
	return next, i.drop(ctx, i.index.SnapshotSubject(), next.Snapshot)
}

// publishLive writes the rows of these revisions, in parts, and returns the sequence of the
// last one.
func (i *Indexer) publishLive(ctx context.Context, last *Summary, live map[string]uint64) (uint64, error) {
	x, seq := i.index, last.seq
	rows := make([]Row, 0, i.Part)
	flush := func() (err error) {
		if len(rows) > 0 {
			seq, err = i.publishRows(ctx, x.SnapshotSubject(), rows, seq)
			rows = rows[:0]
		}
		return err
	}
	err := x.Unfinished(ctx, last, func(r Row) error {
		if live[r.ID] != r.Revision {
			return nil
		}
		delete(live, r.ID)
		if rows = append(rows, r); len(rows) == i.Part {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	return seq, err
}
