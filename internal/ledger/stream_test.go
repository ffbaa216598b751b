package ledger

import (
	"context"
	"errors"
	"fmt"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
)

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

func TestSweep(t *testing.T) {
	t.Parallel()
	js, _ := newJetStream(t, t.TempDir())
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
			last, err := sweep(t.Context(), js, "S", tt.subject, tt.from, 0, func(m stored) error {
				seen = append(seen, m.seq)
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
func TestSweepWaitsForAReplica(t *testing.T) {
	t.Parallel()
	js, _ := newJetStream(t, t.TempDir())
	newStream(t, js, 2, true)
	var seen []uint64
	_, err := sweep(t.Context(), js, "S", "", 1, 3, func(m stored) error {
		seen = append(seen, m.seq)
		if m.seq == 2 { // All that is there at first.
			if _, err := js.Publish(t.Context(), "s.0", nil); err != nil {
				return err
			}
		}
		return nil
	})
	if diff := gocmp.Diff([]uint64{1, 2, 3}, seen); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got := (position{last: 9}).reached(); got != 0 {
		t.Errorf("a stream without replicas is waited for until %d", got)
	}
	if got := (position{last: 9, replicated: true}).reached(); got != 9 {
		t.Errorf("a replicated stream is waited for until %d, want 9", got)
	}
}

func TestSweepSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	js, _ := newJetStream(t, t.TempDir())
	newStream(t, js, 2, false)
	nothing := func(stored) error { return nil }
	if _, err := sweep(t.Context(), js, "S", "", 1, 0, nothing); !errors.Is(err, errNotDirect) {
		t.Errorf("a stream without direct reads: %v", err)
	}
	cause := errors.New("stopping")
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := sweep(ended, js, "S", "", 1, 0, nothing); !errors.Is(err, cause) {
		t.Errorf("an ended context: %v", err)
	}
	if _, err := standing(t.Context(), js, "NONE"); err == nil {
		t.Error("a stream that does not exist stands somewhere")
	}
}
