// Package index finds records of the ledger by their kind, state, outcome, target and events, without reading all of them.
package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/direct"
	"rekey/internal/jobs"
)

// Index is a stream with a row for every record of the ledger up to some revision, in
// parts, so that a list is made without reading all records. It is written behind the
// ledger (see Indexer) and costs a job no write of its own; what the ledger got since is
// read from the ledger. A row is a record at one revision: every record whose
// latest revision the index covers has a row of that revision; older rows of the same job
// may be there, too. Nothing in it is needed to run jobs: a lost index is made anew.
//
// A part is a message with rows and then one with its summary, which makes it valid. A
// snapshot is the rows of all unfinished jobs, so that these are found without reading the
// parts from before it.
type Index struct {
	js     jetstream.JetStream
	cfg    Config
	Stream string
	prefix string // Of its subjects.
}

// Config says what is indexed, and where.
type Config struct {
	Ledger    string        // The stream of the ledger's records.
	Namespace string        // In lower or upper case, as in "rekey".
	Replicas  int           // Default 1.
	Keep      time.Duration // How long the ledger keeps a record.
}

// New returns the index of a ledger. It makes nothing; see Indexer.
func New(js jetstream.JetStream, cfg Config) *Index {
	return &Index{js: js, cfg: cfg, Stream: strings.ToUpper(cfg.Namespace) + "_INDEX", prefix: strings.ToLower(cfg.Namespace) + ".v1.index."}
}

// StreamConfig declares the stream.
func (x *Index) StreamConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: x.Stream, Description: "Where the ledger's records are found. It can be deleted: the worker makes it anew.",
		Subjects: []string{x.prefix + ">"}, MaxAge: x.cfg.Keep, Storage: jetstream.FileStorage, Replicas: max(x.cfg.Replicas, 1),
		Discard: jetstream.DiscardNew, AllowDirect: true,
	}
}

// SummarySubject is the subject of the summaries.
func (x *Index) SummarySubject() string { return x.prefix + "summary" }

// RowsSubject is the subject of the rows of a part.
func (x *Index) RowsSubject() string { return x.prefix + "rows" }

// SnapshotSubject is the subject of the rows of a snapshot.
func (x *Index) SnapshotSubject() string { return x.prefix + "snapshot" }

// Summary says what a part holds.
type Summary struct {
	Ledger time.Time `json:"ledger"` // When the ledger's stream was made: an index is of one ledger.
	// The part covers the ledger's revisions after From up to Through. Parts follow each
	// other without a gap.
	From    uint64 `json:"from"`
	Through uint64 `json:"through"`

	Body   uint64         `json:"body,omitempty"` // Sequence of the message with the rows; 0: it has none.
	Rows   int            `json:"rows"`
	Oldest int64          `json:"oldest,omitempty"` // When the first and the last of its jobs were accepted.
	Newest int64          `json:"newest,omitempty"`
	Holds  map[string]int `json:"holds,omitempty"` // How many rows of each kind, state and outcome.
	Marks  bloom          `json:"marks,omitempty"` // Of targets and events.

	// The latest complete snapshot: the sequence of its first message (of the first message
	// of all, when there is no snapshot yet), its rows, and the rows of parts since.
	Snapshot     uint64 `json:"snapshot"`
	SnapshotRows int    `json:"snapshot_rows"`
	Since        int    `json:"since"`

	seq uint64
}

// summarize describes the rows of a part.
func (s *Summary) summarize(rows []Row) {
	s.Rows, s.Holds = len(rows), map[string]int{}
	hashes := map[uint64]struct{}{}
	for i, r := range rows {
		if i == 0 {
			s.Oldest, s.Newest = r.Accepted, r.Accepted
		}
		s.Oldest, s.Newest = min(s.Oldest, r.Accepted), max(s.Newest, r.Accepted)
		s.Holds[holdKey(r.Kind, r.State, r.Outcome)]++
		for _, h := range append(marks(r.Target), r.Events...) {
			hashes[h] = struct{}{}
		}
	}
	if len(hashes) <= maxMarks { // Beyond it the part is read by queries for a target or an event.
		s.Marks = newBloom(hashes)
	}
}

// maxMarks keeps a summary small also when its jobs have hundreds of events each.
const maxMarks = 50_000

func holdKey(kind jobs.Kind, state jobs.State, outcome jobs.Outcome) string {
	return string(kind) + "/" + string(state) + "/" + string(outcome)
}

// ErrNoIndex says that there is no index that could be used.
var ErrNoIndex = errors.New("there is no index of the ledger")

// Load returns the summaries of all parts, the oldest first, or ErrNoIndex when the index
// is missing, has a gap or belongs to a ledger that is no more.
func (x *Index) Load(ctx context.Context, ledger direct.Position) ([]Summary, error) {
	if _, err := x.js.Stream(ctx, x.Stream); err != nil {
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, ErrNoIndex
		}
		return nil, fmt.Errorf("opening the index: %w", err)
	}
	var list []Summary
	whole := true
	_, err := direct.Read(ctx, x.js, direct.Query{Stream: x.Stream, Subject: x.SummarySubject()}, func(m direct.Message) error {
		s, err := decodeSummary(m.Seq, m.Data)
		switch {
		case err != nil:
			whole = false
		case s.From == 0: // An index that was begun anew.
			list, whole = append(list[:0], s), s.fits(ledger)
		case len(list) > 0 && list[len(list)-1].Through != s.From || !s.fits(ledger):
			whole = false
		default: // Or the first of those that have not expired.
			list = append(list, s)
		}
		return nil
	})
	if err == nil && (len(list) == 0 || !whole) {
		err = ErrNoIndex
	}
	return list, err
}

// fits reports whether the summary is one of this ledger.
func (s *Summary) fits(ledger direct.Position) bool {
	return s.Ledger.Equal(ledger.Created) && s.Through <= ledger.Last
}

func decodeSummary(seq uint64, data []byte) (Summary, error) {
	s := Summary{seq: seq}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("decoding summary %d of the index: %w", seq, err)
	}
	return s, nil
}

// Part returns the rows of a part.
func (x *Index) Part(ctx context.Context, s *Summary) ([]Row, error) {
	if s.Body == 0 {
		return nil, nil
	}
	stream, err := x.js.Stream(ctx, x.Stream)
	if err != nil {
		return nil, fmt.Errorf("opening the index: %w", err)
	}
	msg, err := stream.GetMsg(ctx, s.Body)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, ErrMoved
	}
	if err != nil {
		return nil, fmt.Errorf("reading part %d of the index: %w", s.Body, err)
	}
	return decodeRows(msg.Data)
}

// ErrMoved says that what a summary names is not there: it was replaced meanwhile, or a
// replica does not have it yet.
var ErrMoved = errors.New("the index has changed meanwhile")

// Unfinished calls do for the rows of the latest snapshot and of the parts since, those of
// one job in the order of their revisions: the latest one of every job that was unfinished
// at the index's end is among them. ErrMoved asks to load the summaries anew.
func (x *Index) Unfinished(ctx context.Context, end *Summary, do func(Row) error) error {
	snapshot, since := 0, 0
	_, err := direct.Read(ctx, x.js, direct.Query{Stream: x.Stream, From: end.Snapshot}, func(m direct.Message) error {
		if m.Seq > end.seq {
			return errEnough
		}
		if m.Subject == x.SummarySubject() {
			return nil
		}
		rows, err := decodeRows(m.Data)
		if err != nil {
			return err
		}
		if m.Subject == x.SnapshotSubject() {
			snapshot += len(rows)
		} else {
			since += len(rows)
		}
		for i := range rows {
			if err := do(rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if snapshot < end.SnapshotRows || since < end.Since {
		return ErrMoved
	}
	return nil
}

// publish writes a message behind the one with the sequence after, or returns
// jobs.ErrConflict when another worker has written since.
func (x *Index) publish(ctx context.Context, subject string, data []byte, after uint64) (uint64, error) {
	ack, err := x.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: data}, jetstream.WithExpectLastSequence(after))
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && wrongSequence(api.ErrorCode) {
		return 0, jobs.ErrConflict
	}
	if err != nil {
		return 0, fmt.Errorf("writing the index: %w", err)
	}
	return ack.Sequence, nil
}

// wrongSequence recognises a message that comes behind another than it expects. A
// replicated stream answers with a code of its own.
func wrongSequence(code jetstream.ErrorCode) bool {
	return code == jetstream.JSErrCodeStreamWrongLastSequence || code == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}
