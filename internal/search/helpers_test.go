package search

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/ledger"
	"rekey/internal/natsserver"
)

// waiting is how long a test waits for something that must come.
const waiting = 30 * time.Second

var moment = time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)

// rig is a NATS server with a ledger that is filled at random, and what must stand in it.
type rig struct {
	t      *testing.T
	conn   *bus.Conn
	js     jetstream.JetStream
	ledger *ledger.Ledger
	rand   *rand.Rand
	want   map[string]jobs.Entry
	ids    []string
}

func newRig(t *testing.T, seed uint64) *rig {
	t.Helper()
	server, err := natsserver.Start(natsserver.Config{StoreDir: t.TempDir(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	r := &rig{t: t, rand: rand.New(rand.NewPCG(seed, 1)), want: map[string]jobs.Entry{}}
	if r.conn, err = bus.Connect(bus.ConnectConfig{Embedded: server, Namespace: "rekey", Logger: zap.NewNop()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.conn.Close)
	r.js = r.conn.JetStream()
	cfg := ledger.Config{Namespace: "rekey"}
	r.ledger = ledger.New(r.js, cfg)
	streams := append(cfg.Streams(),
		jetstream.StreamConfig{Name: "REKEY_DLQ", Subjects: []string{"rekey.v1.dlq.>"}, AllowDirect: true},
		jetstream.StreamConfig{Name: "REKEY_RESULTS", Subjects: []string{"rekey.v1.result.>", "rekey.v1.proof.>", "rekey.v1.access.>"}, AllowDirect: true})
	for _, stream := range streams {
		r.stream(stream)
	}
	return r
}

func (r *rig) stream(cfg jetstream.StreamConfig) {
	r.t.Helper()
	if _, err := r.js.CreateStream(r.t.Context(), cfg); err != nil {
		r.t.Fatal(err)
	}
}

// project opens a projection in a folder and follows all streams.
func (r *rig) project(dir string) (*projection, func()) {
	r.t.Helper()
	p, end, err := open(r.t.Context(), r.conn, dir, zap.NewNop())
	if err != nil {
		r.t.Fatal(err)
	}
	p.patience, p.followTimeout = waiting, waiting
	closed := false
	stop := func() {
		if closed {
			return
		}
		closed = true
		if err := end(false); err != nil {
			r.t.Error(err)
		}
	}
	r.t.Cleanup(stop)
	return p, stop
}

func (r *rig) follow(p *projection) {
	r.t.Helper()
	if err := p.follow(r.t.Context(), AskSummary); err != nil {
		r.t.Fatal(err)
	}
}

// empty makes the ledger anew, without records.
func (r *rig) empty() {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), "KV_REKEY_LEDGER")
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	if err := r.js.DeleteStream(r.t.Context(), cfg.Name); err != nil {
		r.t.Fatal(err)
	}
	r.stream(cfg)
	r.want, r.ids = map[string]jobs.Entry{}, nil
}

func pick[T any](r *rig, from ...T) T { return from[r.rand.IntN(len(from))] }

// target makes up one of few targets.
func (r *rig) target() string {
	id := fmt.Sprintf("%024x", r.rand.IntN(40))
	return pick(r, "project/"+id, "federation/"+id+"/idp/"+id, "file:/run/"+id+"ff/token", fmt.Sprintf("sha256:%012x", r.rand.IntN(40)))
}

// create adds a job. Jobs come into the ledger in another order than they were accepted in, and some were accepted at the same
// moment.
func (r *rig) create() {
	r.t.Helper()
	const letters = "0123456789abcdefghijklmnopqrstuvwxyz"
	id := fmt.Sprintf("%c%c%05d", letters[r.rand.IntN(36)], letters[r.rand.IntN(36)], len(r.ids))
	r.put(jobs.Entry{Record: jobs.Record{PublicRecord: jobs.PublicRecord{
		JobID: id, Kind: pick(r, jobs.Kinds()...), Target: r.target(), State: jobs.StateQueued, Lane: pick(r, jobs.Lanes()...),
		AcceptedAt: moment.Add(time.Duration(len(r.ids)+r.rand.IntN(30)) * time.Second),
		Account:    pick(r, "security", "ops"), RequestedBy: pick(r, "soar@example.com", "ada"), Reason: fmt.Sprintf("Incident IR-%d", r.rand.IntN(20)),
		Events: []jobs.RecordedEvent{r.event()},
	}}})
}

// put writes a record.
func (r *rig) put(e jobs.Entry) {
	r.t.Helper()
	updated, err := r.ledger.Update(r.t.Context(), e)
	if err != nil {
		r.t.Fatal(err)
	}
	if id := e.Record.JobID; r.want[id].Revision == 0 {
		r.ids = append(r.ids, id)
	}
	r.want[e.Record.JobID] = updated
}

// event is one with some id: of a CloudEvent, or a Nats-Msg-Id.
func (r *rig) event() jobs.RecordedEvent {
	return jobs.RecordedEvent{EventRef: jobs.EventRef{Source: "/s", ID: pick(r, "", "id:") + fmt.Sprintf("e%d", r.rand.IntN(100))}}
}

// change moves a job to some state, has an event join it, or deletes it, as an operator with other tools may.
func (r *rig) change() {
	r.t.Helper()
	id := pick(r, r.ids...)
	entry, ok := r.want[id]
	if !ok {
		return
	}
	rec := &entry.Record
	switch state := pick(r, append(jobs.States(), jobs.StateDone)...); r.rand.IntN(12) {
	case 0:
		rec.Events = append(slices.Clone(rec.Events), r.event())
	case 1:
		r.remove(id)
		return
	default:
		if rec.State, rec.Outcome, rec.FinishedAt, rec.Proof = state, "", (time.Time{}), nil; state == jobs.StateDone {
			rec.Outcome, rec.FinishedAt = pick(r, jobs.Outcomes()...), rec.AcceptedAt.Add(time.Duration(r.rand.IntN(100))*time.Second)
			rec.Proof = pick(r, nil, &jobs.Proof{Verdict: pick(r, jobs.Verdicts()...), Evidence: []jobs.Evidence{{Check: "list", Says: "it is not listed", EventID: "ev9"}}})
			rec.Detail = pick(r, "the API refused the call", "the project is gone")
		}
	}
	r.put(entry)
}

func (r *rig) remove(id string) {
	r.t.Helper()
	kv, err := r.js.KeyValue(r.t.Context(), ledger.RecordsBucket("rekey"))
	if err == nil {
		err = kv.Delete(r.t.Context(), id)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	delete(r.want, id)
}

// query is some query.
func (r *rig) query() Query {
	maybe := func(one func()) {
		if r.rand.IntN(5) == 0 {
			one()
		}
	}
	q := Query{Limit: pick(r, 0, 1, 3, 10, 1000), Count: r.rand.IntN(2) == 0}
	maybe(func() { q.State = pick(r, jobs.States()...) })
	maybe(func() { q.Kind = pick(r, jobs.Kinds()...) })
	maybe(func() { q.Outcome = pick(r, jobs.Outcomes()...) })
	maybe(func() { q.Verdict = pick(r, jobs.Verdicts()...) })
	maybe(func() { q.Kinds = []jobs.Kind{pick(r, jobs.Kinds()...), pick(r, jobs.Kinds()...)} })
	maybe(func() { q.Accounts = pick(r, []string{"ops"}, []string{"ops", "security"}, []string{"other"}) })
	maybe(func() { q.Lane = pick(r, jobs.Lanes()...) })
	maybe(func() { q.Account = pick(r, "security", "ops", "other") })
	maybe(func() { q.RequestedBy = pick(r, "ada", "eve") })
	maybe(func() { q.Event = pick(r, "", "id:") + fmt.Sprintf("e%d", r.rand.IntN(110)) })
	maybe(func() { q.Since = moment.Add(time.Duration(r.rand.IntN(len(r.ids)+30)) * time.Second) })
	maybe(func() { q.Until = moment.Add(time.Duration(r.rand.IntN(len(r.ids)+30)) * time.Second) })
	maybe(func() { q.After = pick(r, r.ids...) })
	maybe(func() { q.Sort = pick(r, "", SortAccepted, "-"+SortAccepted) })
	maybe(func() {
		q.Q = pick(r, "refused", "Project gone", "IR-7", "incident", "soar@example.com", "ev9", "nothing")
	})
	maybe(func() {
		target := r.target()
		q.Target = pick(r, target, target[:r.rand.IntN(len(target))+1], "project/", "idp/", target[strings.IndexAny(target, "/:")+1:])
	})
	return q
}

// choose is what a query must find, made from all records.
func (r *rig) choose(q Query) (ids []string, total int) {
	if ids, total = r.chooseParts(q, false); total == 0 {
		return r.chooseParts(q, true)
	}
	return ids, total
}

// chooseParts is that with loose for any part of a target.
func (r *rig) chooseParts(q Query, loose bool) (ids []string, total int) {
	order := func(a, b *jobs.PublicRecord) int {
		n := cmp.Or(b.AcceptedAt.Compare(a.AcceptedAt), strings.Compare(a.JobID, b.JobID))
		if strings.HasPrefix(string(q.Sort), "-") {
			return -n
		}
		return n
	}
	var list []*jobs.PublicRecord
	after := r.want[q.After].Record
	for _, entry := range r.want {
		if rec := &entry.Record.PublicRecord; q.Chooses(rec) && (loose || hasPart(rec.Target, q.Target)) {
			if total++; q.After == "" || order(&after.PublicRecord, rec) < 0 {
				list = append(list, rec)
			}
		}
	}
	slices.SortFunc(list, order)
	for _, rec := range list {
		ids = append(ids, rec.JobID)
	}
	return ids, total
}

// answer asks a projection.
func answer[T any](t *testing.T, p *projection, what string, question any) (T, error) {
	t.Helper()
	var into T
	data, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	if data, err = p.Answer(context.WithoutCancel(t.Context()), what, data, 1<<20); err == nil {
		err = json.Unmarshal(data, &into)
	}
	return into, err
}

func mustAnswer[T any](t *testing.T, p *projection, what string, question any) T {
	t.Helper()
	got, err := answer[T](t, p, what, question)
	if err != nil {
		t.Fatalf("%s %+v: %v", what, question, err)
	}
	return got
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decoded[T any](t *testing.T, data []byte) (into T) {
	t.Helper()
	if err := json.Unmarshal(data, &into); err != nil {
		t.Fatal(err)
	}
	return into
}

// hasPart reports whether a text has a part that begins where a word does.
func hasPart(text, part string) bool {
	first, _ := utf8.DecodeRuneInString(part)
	for at := 0; ; at++ {
		next := strings.Index(text[at:], part)
		if next < 0 {
			return false
		}
		at += next
		if before, _ := utf8.DecodeLastRuneInString(text[:at]); !inWord(first) || !inWord(before) {
			return true
		}
	}
}
