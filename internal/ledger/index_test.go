package ledger

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/index"
	"rekey/internal/jobs"
)

// filled is a ledger of a few hundred records with an index that covers it all.
func filled(t *testing.T) (*fleet, *index.Indexer) {
	t.Helper()
	f := newFleet(t, newLedger(t), 11)
	for range 120 {
		f.create()
		f.change()
	}
	i := smallIndexer(f.ledger)
	i.Behind, i.Snapshot = 1, 50
	advance(t, i)
	f.checkIndex()
	return f, i
}

func (f *fleet) indexStream() jetstream.Stream {
	f.t.Helper()
	stream, err := f.ledger.js.Stream(f.t.Context(), f.ledger.index.Stream)
	if err != nil {
		f.t.Fatal(err)
	}
	return stream
}

func (f *fleet) checkMany() {
	f.t.Helper()
	for range 40 {
		f.check(f.filter())
	}
}

// Whatever happens to the index, a list is right, and the index is whole again after it.
func TestIndexIsMadeAnew(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		damage func(f *fleet) error
	}{
		{"deleted", func(f *fleet) error { return f.ledger.js.DeleteStream(f.t.Context(), f.ledger.index.Stream) }},
		{"emptied", func(f *fleet) error { return f.indexStream().Purge(f.t.Context()) }},
		{"a gap", func(f *fleet) error {
			// The first two messages are the rows and the summary of the first part.
			return f.indexStream().DeleteMsg(f.t.Context(), f.indexStream().CachedInfo().State.FirstSeq+3)
		}},
		{"no JSON", func(f *fleet) error {
			_, err := f.ledger.js.Publish(f.t.Context(), f.ledger.index.SummarySubject(), []byte("{"))
			return err
		}},
		{"of another ledger", func(f *fleet) error {
			_, err := f.ledger.js.Publish(f.t.Context(), f.ledger.index.SummarySubject(), []byte(`{"ledger":"2020-01-01T00:00:00Z","from":0,"through":1}`))
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, _ := filled(t)
			if err := tt.damage(f); err != nil {
				t.Fatal(err)
			}
			f.checkMany()
			anew := smallIndexer(f.ledger) // The worker was started again.
			anew.Behind, anew.Snapshot = 1, 50
			advance(t, anew)
			f.checkIndex()
			f.checkMany()
		})
	}
}

// A part that lacks its rows makes a list slow and not wrong.
func TestListWithoutRows(t *testing.T) {
	t.Parallel()
	f, _ := filled(t)
	at := f.indexStream().CachedInfo().State
	if err := f.indexStream().Purge(t.Context(), jetstream.WithPurgeSubject(f.ledger.index.RowsSubject())); err != nil {
		t.Fatal(err)
	}
	if now := f.indexStream().CachedInfo().State; now.Msgs == at.Msgs {
		t.Fatal("nothing was deleted")
	}
	for _, filter := range []Filter{{Limit: 5}, {State: jobs.StateWaiting}, {Event: "e5"}} {
		f.check(filter)
	}
}

// A worker that was lost between the rows of a part and its summary leaves rows behind that
// do no harm.
func TestRowsWithoutSummary(t *testing.T) {
	t.Parallel()
	f, i := filled(t)
	f.change()
	rows, err := index.EncodeRows([]index.Row{{ID: f.ids[0], Revision: 1, State: jobs.StateRunning, Accepted: index.Nanos(moment)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ledger.js.Publish(t.Context(), f.ledger.index.RowsSubject(), rows); err != nil {
		t.Fatal(err)
	}
	f.checkMany()
	f.create()
	advance(t, i)
	f.checkIndex()
	f.checkMany()
}

// Old snapshots go, so that the index of a fleet with many waiting jobs does not grow.
func TestSnapshotsReplaceEachOther(t *testing.T) {
	t.Parallel()
	f, i := filled(t)
	i.Snapshot = 0
	for range 6 {
		f.create()
		advance(t, i)
	}
	info, err := f.indexStream().Info(t.Context(), jetstream.WithSubjectFilter(f.ledger.index.SnapshotSubject()))
	if err != nil {
		t.Fatal(err)
	}
	unfinished, _ := f.choose(Filter{})
	most := uint64(len(unfinished)/i.Part + 1)
	if got := info.State.Subjects[f.ledger.index.SnapshotSubject()]; got == 0 || got > most {
		t.Errorf("%d messages hold the snapshot, want at most %d", got, most)
	}
}
