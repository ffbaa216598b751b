package direct

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// newJetStream starts a server inside the process.
func newJetStream(t *testing.T) jetstream.JetStream {
	t.Helper()
	srv, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// newStream is a stream of two subjects, with n messages on either in turn.
func newStream(t *testing.T, js jetstream.JetStream, n int, direct bool) jetstream.Stream {
	t.Helper()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, AllowDirect: direct})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := js.Publish(t.Context(), fmt.Sprintf("s.%d", i%2), nil); err != nil {
			t.Fatal(err)
		}
	}
	return stream
}

func TestRead(t *testing.T) {
	t.Parallel()
	js := newJetStream(t)
	const messages = 2*readBatch + 10 // Several batches.
	stream := newStream(t, js, messages, true)
	for _, seq := range []uint64{3, messages} {
		if err := stream.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name           string
		subject        string
		from           uint64
		wantFirst      uint64
		wantLast, want int
	}{
		{"all", "", 1, 1, messages - 1, messages - 2},
		{"from a gap on", "", 3, 4, messages - 1, messages - 4},
		{"one subject", "s.0", 1, 1, messages - 1, messages/2 - 1},
		{"from behind the end on", "", messages + 1, 0, messages, 0},
		{"a subject without messages", "s.7", 1, 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var seen []uint64
			last, err := Read(t.Context(), js, Query{Stream: "S", Subject: tt.subject, From: tt.from, Until: 0}, func(m Message) error {
				seen = append(seen, m.Seq)
				return nil
			})
			if err != nil || last != uint64(tt.wantLast) || len(seen) != tt.want {
				t.Fatalf("%d messages until %d, error %v; want %d until %d", len(seen), last, err, tt.want, tt.wantLast)
			}
			if len(seen) > 0 && seen[0] != tt.wantFirst {
				t.Errorf("the first one is %d, want %d", seen[0], tt.wantFirst)
			}
		})
	}
}

// A replica that has not got as far as its leader is waited for.
func TestReadWaitsForAReplica(t *testing.T) {
	t.Parallel()
	js := newJetStream(t)
	newStream(t, js, 2, true)
	var seen []uint64
	_, err := Read(t.Context(), js, Query{Stream: "S", Subject: "", From: 1, Until: 3}, func(m Message) error {
		seen = append(seen, m.Seq)
		if m.Seq == 2 { // All that is there at first.
			if _, err := js.Publish(t.Context(), "s.0", nil); err != nil {
				return err
			}
		}
		return nil
	})
	if diff := cmp.Diff([]uint64{1, 2, 3}, seen); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got := (Position{Last: 9}).Reached(); got != 0 {
		t.Errorf("a stream without replicas is waited for until %d", got)
	}
	if got := (Position{Last: 9, Replicated: true}).Reached(); got != 9 {
		t.Errorf("a replicated stream is waited for until %d, want 9", got)
	}
}

func TestReadSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	js := newJetStream(t)
	newStream(t, js, 2, false)
	nothing := func(Message) error { return nil }
	if _, err := Read(t.Context(), js, Query{Stream: "S", Subject: "", From: 1, Until: 0}, nothing); !errors.Is(err, ErrNotDirect) {
		t.Errorf("a stream without direct reads: %v", err)
	}
	cause := errors.New("stopping")
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := Read(ended, js, Query{Stream: "S", Subject: "", From: 1, Until: 0}, nothing); !errors.Is(err, cause) {
		t.Errorf("an ended context: %v", err)
	}
	if _, err := PositionOf(t.Context(), js, "NONE"); err == nil {
		t.Error("a stream that does not exist has a position")
	}
}

// TestReadSince begins with the first message from a moment on, and a sender's headers cannot pass for the server's.
func TestReadSince(t *testing.T) {
	t.Parallel()
	js := newJetStream(t)
	stream := newStream(t, js, 2*readBatch+10, true)
	first, err := stream.GetMsg(t.Context(), readBatch)
	if err != nil {
		t.Fatal(err)
	}
	odd := &nats.Msg{Subject: "s.0", Header: nats.Header{"Status": {"404"}, "Nats-Num-Pending": {"0"}, "Nats-Sequence": {"1"}, "Own": {"kept"}}, Data: []byte("odd")}
	if _, err := js.PublishMsg(t.Context(), odd); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s.0", []byte("last")); err != nil {
		t.Fatal(err)
	}
	var seen []Message
	last, err := Read(t.Context(), js, Query{Stream: "S", Since: first.Time}, func(m Message) error {
		seen = append(seen, m)
		return nil
	})
	if err != nil || last != 2*readBatch+12 || len(seen) < readBatch+13 || seen[0].Seq > readBatch || seen[0].At.Before(first.Time) {
		t.Fatalf("%d messages until %d, the first one %+v: %v", len(seen), last, seen[0], err)
	}
	if got := seen[len(seen)-2]; string(got.Data) != "odd" || got.Header.Get("Own") != "kept" || got.Header.Get("Nats-Sequence") != "" {
		t.Errorf("the message with odd headers is %+v", got)
	}
}
