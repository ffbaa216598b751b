package bus

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// TestListWhileMessagesAreTakenOut: what is deleted after a list has begun is not in it, and does
// not make it fail.
func TestListWhileMessagesAreTakenOut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for range 3 {
		if _, err := r.conn.js.Publish(t.Context(), r.names.DeadEvent(), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	letters, err := OpenDeadLetters(t.Context(), r.conn, r.names)
	if err != nil {
		t.Fatal(err)
	}
	cons, err := letters.from(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, number := range []uint64{1, 3} {
		if err := letters.Delete(t.Context(), number); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	err = each(t.Context(), cons, func(jetstream.Msg) error { seen++; return nil })
	if err != nil || seen != 1 {
		t.Errorf("%d of 1 letters are seen: %v", seen, err)
	}
	if pending, err := stillPending(t.Context(), cons, 1); pending != 0 || err != nil {
		t.Errorf("%d letters are left: %v", pending, err)
	}
	if _, err := stillPending(t.Context(), cons, 0); !errors.Is(err, errMessagesLost) {
		t.Errorf("the error is %v where one of them was sent and did not come", err)
	}
}
