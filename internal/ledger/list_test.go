package ledger

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"rekey/internal/direct"
	"rekey/internal/index"
	"rekey/internal/jobs"
)

// fleet is a random ledger and what must stand in it.
type fleet struct {
	t      *testing.T
	rand   *rand.Rand
	ledger *Ledger
	want   map[string]jobs.Entry
	ids    []string
}

func newFleet(t *testing.T, l *Ledger, seed uint64) *fleet {
	t.Helper()
	return &fleet{t: t, rand: rand.New(rand.NewPCG(seed, 1)), ledger: l, want: map[string]jobs.Entry{}}
}

func pick[T any](f *fleet, from ...T) T { return from[f.rand.IntN(len(from))] }

// target makes up one of few targets, with ids that are also inside longer texts.
func (f *fleet) target() string {
	id := fmt.Sprintf("%024x", f.rand.IntN(40))
	return pick(f, "project/"+id, "federation/"+id+"/idp/"+id, "file:/run/"+id+"ff/token", fmt.Sprintf("sha256:%012x", f.rand.IntN(40)))
}

// create adds a job. Jobs come into the ledger in another order than they were accepted in,
// and some were accepted at the same moment.
func (f *fleet) create() {
	f.t.Helper()
	id := fmt.Sprintf("job%05d", len(f.ids))
	r := jobs.Record{PublicRecord: jobs.PublicRecord{
		JobID: id, Kind: pick(f, jobs.Kinds()...), Target: f.target(), State: jobs.StateQueued,
		AcceptedAt: moment.Add(time.Duration(len(f.ids)+f.rand.IntN(30)) * time.Second),
		Events:     []jobs.RecordedEvent{f.event()},
	}}
	f.ids = append(f.ids, id)
	f.want[id] = create(f.t, f.ledger, r)
}

// event is one with some id: of a CloudEvent, or a Nats-Msg-Id.
func (f *fleet) event() jobs.RecordedEvent {
	return jobs.RecordedEvent{EventRef: jobs.EventRef{Source: "/s", ID: pick(f, "", "id:") + fmt.Sprintf("e%d", f.rand.IntN(100))}}
}

// change moves a job to some state, or has an event join it.
func (f *fleet) change() {
	f.t.Helper()
	id := pick(f, f.ids...)
	entry, ok := f.want[id]
	if !ok {
		return
	}
	r := &entry.Record
	switch state := pick(f, append(jobs.States(), jobs.StateDone)...); f.rand.IntN(12) {
	case 0:
		r.Events = append(slices.Clone(r.Events), f.event())
	case 1:
		if err := f.remove(id); err != nil {
			f.t.Fatal(err)
		}
		return
	default:
		r.State, r.Outcome = state, ""
		if state == jobs.StateDone {
			r.Outcome = pick(f, jobs.Outcomes()...)
		}
	}
	updated, err := f.ledger.Update(f.t.Context(), entry)
	if err != nil {
		f.t.Fatal(err)
	}
	f.want[id] = updated
}

// remove deletes a record, as an operator with other tools may.
func (f *fleet) remove(id string) error {
	delete(f.want, id)
	kv, err := f.ledger.js.KeyValue(f.t.Context(), strings.TrimPrefix(f.ledger.stream, "KV_"))
	if err != nil {
		return err
	}
	return kv.Delete(f.t.Context(), id)
}

func (f *fleet) filter() Filter {
	maybe := func(one func()) {
		if f.rand.IntN(4) == 0 {
			one()
		}
	}
	filter := Filter{Limit: pick(f, 0, 1, 3, 10, 50)}
	maybe(func() { filter.State = pick(f, jobs.States()...) })
	maybe(func() { filter.Kind = pick(f, jobs.Kinds()...) })
	maybe(func() { filter.Outcome = pick(f, jobs.Outcomes()...) })
	maybe(func() { filter.Event = fmt.Sprintf("e%d", f.rand.IntN(110)) })
	maybe(func() { filter.Since = moment.Add(time.Duration(f.rand.IntN(len(f.ids)+30)) * time.Second) })
	maybe(func() { filter.After = pick(f, f.ids...) })
	maybe(func() {
		target := f.target()
		from := f.rand.IntN(len(target))
		filter.Target = pick(f, target, target[from:from+f.rand.IntN(len(target)-from)], "project/", "idp")
	})
	return filter
}

// choose is the list as it must be, made from all records.
func (f *fleet) choose(filter Filter) (ids []string, more bool) {
	order := func(a, b jobs.PublicRecord) int {
		return cmp.Or(b.AcceptedAt.Compare(a.AcceptedAt), strings.Compare(a.JobID, b.JobID))
	}
	var list []jobs.PublicRecord
	for _, entry := range f.want {
		if filter.Chooses(&entry.Record.PublicRecord) && (filter.After == "" || order(f.want[filter.After].Record.PublicRecord, entry.Record.PublicRecord) < 0) {
			list = append(list, entry.Record.PublicRecord)
		}
	}
	slices.SortFunc(list, order)
	if filter.Limit > 0 && len(list) > filter.Limit {
		list, more = list[:filter.Limit], true
	}
	for _, r := range list {
		ids = append(ids, r.JobID)
	}
	return ids, more
}

func (f *fleet) check(filter Filter) {
	f.t.Helper()
	if _, known := f.want[filter.After]; filter.After != "" && !known {
		filter.After = ""
	}
	want, more := f.choose(filter)
	page, err := f.ledger.List(f.t.Context(), filter)
	if err != nil {
		f.t.Fatalf("%+v: %v", filter, err)
	}
	var got []string
	for _, r := range page.Records {
		got = append(got, r.JobID)
		if diff := gocmp.Diff(f.want[r.JobID].Record.Public(), r); diff != "" {
			f.t.Errorf("%+v lists another record: %s", filter, diff)
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" || more != page.More {
		f.t.Fatalf("%+v: more %v, want %v; %s", filter, page.More, more, diff)
	}
}

func smallIndexer(l *Ledger) *index.Indexer {
	i := l.Indexer(zap.NewNop())
	i.Behind, i.Part, i.Snapshot = 20, 16, 40
	return i
}

func advance(t *testing.T, i *index.Indexer) {
	t.Helper()
	if err := i.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A list with an index is what a look at all records would give, however far the index is.
func TestListIsExact(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			l := newLedger(t)
			f := newFleet(t, l, seed)
			indexers := []*index.Indexer{smallIndexer(l), smallIndexer(l)} // Of two workers.
			for range 300 {
				if len(f.ids) == 0 || f.rand.IntN(2) == 0 {
					f.create()
				} else {
					f.change()
				}
				if f.rand.IntN(25) == 0 {
					advance(t, pick(f, indexers...))
				}
				if f.rand.IntN(3) == 0 {
					f.check(f.filter())
				}
			}
			indexers[0].Behind, indexers[0].Snapshot = 1, 0
			advance(t, indexers[0])
			f.checkIndex()
			for range 60 {
				f.check(f.filter())
			}
		})
	}
}

// checkIndex makes sure that the index covers the whole ledger and has a snapshot: else the
// tests would test little.
func (f *fleet) checkIndex() {
	f.t.Helper()
	at, err := direct.PositionOf(f.t.Context(), f.ledger.js, f.ledger.stream)
	if err != nil {
		f.t.Fatal(err)
	}
	parts, err := f.ledger.index.Load(f.t.Context(), at)
	if err != nil {
		f.t.Fatal(err)
	}
	if end := parts[len(parts)-1]; end.Through != at.Last || end.SnapshotRows == 0 || len(parts) < 4 {
		f.t.Errorf("the index has %d parts, covers %d of %d revisions and %d unfinished jobs", len(parts), end.Through, at.Last, end.SnapshotRows)
	}
}

// Two workers that write the index at once do not harm it.
func TestIndexersAtOnce(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	f := newFleet(t, l, 7)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for range 2 {
		i := smallIndexer(l)
		i.Every = time.Millisecond
		go func() { ended <- i.Run(ctx) }()
	}
	for range 150 {
		f.create()
		f.change()
	}
	for range 40 {
		f.check(f.filter())
	}
	cancel()
	for range 2 {
		if err := receive(t, ended); err != nil {
			t.Error(err)
		}
	}
	for range 20 {
		f.check(f.filter())
	}
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("waited in vain")
		panic("unreachable")
	}
}

// What changes after a list was read is followed, and nothing in between is missed.
func TestFollowGoesOnFromAList(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	f := newFleet(t, l, 5)
	f.create()
	page, err := l.List(t.Context(), Filter{})
	if err != nil {
		t.Fatal(err)
	}
	f.create() // Before the first follower.
	ctx, cancel := context.WithCancel(t.Context())
	seen, ended := make(chan string, 10), make(chan error, 1)
	go func() {
		ended <- l.Follow(ctx, page.Revision, func(r jobs.PublicRecord) { seen <- r.JobID + " " + string(r.State) })
	}()
	if got := receive(t, seen); got != f.ids[1]+" queued" {
		t.Errorf("saw %q first", got)
	}
	entry := f.want[f.ids[0]]
	entry.Record.State = jobs.StateRunning
	if _, err := l.Update(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, seen); got != f.ids[0]+" running" {
		t.Errorf("saw %q next", got)
	}
	cancel()
	if err := receive(t, ended); err == nil {
		t.Error("it ended without a cause")
	}
}
