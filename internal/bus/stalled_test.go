package bus

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/layout"
	"rekey/internal/names"
)

// stalls counts what the net caught, by stream.
type stalls struct {
	mu     sync.Mutex // Guards counts.
	counts map[string]int
}

func (s *stalls) DeliveryStalled(stream string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = map[string]int{}
	}
	s.counts[stream]++
}

func (s *stalls) count(stream string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[stream]
}

// giveUp makes a consumer with a limit of one delivery and lets it give the first message up.
func giveUp(t *testing.T, r *rig, stream, filter string) {
	t.Helper()
	cons, err := r.conn.js.CreateConsumer(t.Context(), stream, jetstream.ConsumerConfig{
		Durable: "limited", FilterSubject: filter, AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Second, MaxDeliver: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	msg, err := cons.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := msg.Nak(); err != nil {
		t.Fatal(err)
	}
	// The server notices when it is asked for more. What comes then was put back already.
	first, err := msg.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	if msg, err = cons.Next(jetstream.FetchMaxWait(100 * time.Millisecond)); err != nil {
		return
	}
	if second, err := msg.Metadata(); err != nil || second.Sequence.Stream == first.Sequence.Stream {
		t.Fatalf("message %d came twice, %v", first.Sequence.Stream, err)
	}
}

func TestStalledMessagesComeBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	caught := &stalls{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Stalled{Conn: r.conn, Recorder: caught, Logger: r.log}.Run(ctx) }()
	eventually(t, "the net is out", func() bool { return r.conn.nc.NumSubscriptions() >= 2 })

	event, err := r.conn.PublishRaw(t.Context(), "incident", []byte(`{"kind":"x509.disable"}`), "IR-1")
	if err != nil {
		t.Fatal(err)
	}
	giveUp(t, r, r.names.Events(), r.names.Event(">"))
	eventually(t, "the event is put back", func() bool {
		return caught.count(r.names.Events()) == 1 && lastSeq(t, r, r.names.Events()) == event.Seq+1
	})
	again := storedAt(t, r, r.names.Events(), event.Seq+1)
	if got := again.Header.Get(names.HeaderReplayID); got != "id:IR-1" {
		t.Errorf("the event comes back as %q", got)
	}

	params, err := jobs.NewParams(kinds.X509Disable, map[string]any{"project_id": hexA})
	if err != nil {
		t.Fatal(err)
	}
	job := jobs.Job{ID: "j", Kind: kinds.X509Disable, Lane: jobs.LaneBulk, Params: params}
	if err := NewQueue(r.conn).Enqueue(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	giveUp(t, r, r.names.Jobs(), r.names.Lane(jobs.LaneBulk))
	eventually(t, "the job is put back", func() bool { return caught.count(r.names.Jobs()) == 1 && lastSeq(t, r, r.names.Jobs()) == 2 })
	stream, err := r.conn.js.Stream(t.Context(), r.names.Jobs())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the old message is gone", func() bool {
		_, err := stream.GetMsg(t.Context(), 1)
		return errors.Is(err, jetstream.ErrMsgNotFound)
	})
	if got, err := decodeJob(storedAt(t, r, r.names.Jobs(), 2).Data); err != nil || got.ID != job.ID {
		t.Errorf("what was put back is %v, %v", got, err)
	}
	copied := storedAt(t, r, r.names.Jobs(), 2)
	if got := messageOf(copied.Header, copied.Sequence); got != 1 {
		t.Errorf("it answers for message %d, want 1", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func lastSeq(t *testing.T, r *rig, name string) uint64 {
	t.Helper()
	stream, err := r.conn.js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.LastSeq
}

func storedAt(t *testing.T, r *rig, name string, seq uint64) *jetstream.RawStreamMsg {
	t.Helper()
	stream, err := r.conn.js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetMsg(t.Context(), seq)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// TestLeftoversComeBack: what a consumer has behind it, and the queue still holds, is put back once; what is in hand, or new, is not.
func TestLeftoversComeBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	u, _ := r.upkeep(t, new([]string))
	params, err := jobs.NewParams(kinds.X509Disable, map[string]any{"project_id": hexA})
	if err != nil {
		t.Fatal(err)
	}
	enqueue := func(id string, lane jobs.Lane) {
		if err := NewQueue(r.conn).Enqueue(t.Context(), jobs.Job{ID: id, Kind: kinds.X509Disable, Lane: lane, Params: params}); err != nil {
			t.Fatal(err)
		}
	}
	consumer := func(lane jobs.Lane) jetstream.Consumer {
		cons, err := r.conn.js.Consumer(t.Context(), r.names.Jobs(), layout.ConsumerOf(lane))
		if err != nil {
			t.Fatal(err)
		}
		return cons
	}
	look := func() {
		if err := u.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	enqueue("held", jobs.LaneNormal)
	next(t, consumer(jobs.LaneNormal))
	enqueue("left", jobs.LaneBulk)
	bulk := consumer(jobs.LaneBulk)
	next(t, bulk)
	// The consumer passes over its message, as one does whose server forgot that it removed it.
	if _, err := r.conn.nc.Request("$JS.API.CONSUMER.RESET."+r.names.Jobs()+"."+bulk.CachedInfo().Name, []byte(`{"seq":3}`), time.Second); err != nil {
		t.Fatal(err)
	}
	enqueue("new", jobs.LaneUrgent)
	look() // It sees what is behind the consumer for the first time: the server may be removing it.
	if got := lastSeq(t, r, r.names.Jobs()); got != 3 {
		t.Fatalf("after the first look there are %d messages, want 3", got)
	}
	for range 3 {
		look()
	}
	if got := lastSeq(t, r, r.names.Jobs()); got != 4 {
		t.Fatalf("after the looks there are %d messages, want one more", got)
	}
	stream, err := r.conn.js.Stream(t.Context(), r.names.Jobs())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.GetMsg(t.Context(), 2); !errors.Is(err, jetstream.ErrMsgNotFound) {
		t.Errorf("reading what was put back: %v", err)
	}
	again := next(t, bulk)
	if got, err := decodeJob(again.Data()); err != nil || got.ID != "left" || messageOf(again.Headers(), 4) != 2 {
		t.Errorf("what comes back is %v of message %d, %v", got, messageOf(again.Headers(), 4), err)
	}
}
