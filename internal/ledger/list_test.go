package ledger

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/jobs"
)

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

// What changes after a revision is followed, and nothing in between is missed.
func TestFollow(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	first := create(t, l, record("a"))
	create(t, l, record("b")) // Before the first follower.
	ctx, cancel := context.WithCancel(t.Context())
	seen, ended := make(chan string, 10), make(chan error, 1)
	go func() {
		ended <- l.Follow(ctx, first.Revision, func(r jobs.PublicRecord) { seen <- r.JobID + " " + string(r.State) })
	}()
	if got := receive(t, seen); got != "b queued" {
		t.Errorf("saw %q first", got)
	}
	first.Record.State = jobs.StateRunning
	if _, err := l.Update(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, seen); got != "a running" {
		t.Errorf("saw %q next", got)
	}
	cancel()
	if err := receive(t, ended); err == nil {
		t.Error("it ended without a cause")
	}
}

// A record that is changed while all are read is not met a second time: who changes each would never end.
func TestEach(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	each := func(since time.Time, do func(jobs.PublicRecord) error) (ids []string) {
		t.Helper()
		err := l.Each(t.Context(), since, func(r jobs.PublicRecord) error {
			ids = append(ids, r.JobID)
			return do(r)
		})
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	nothing := func(jobs.PublicRecord) error { return nil }
	if ids := each(time.Time{}, nothing); ids != nil {
		t.Errorf("a ledger that was not made yet has %q", ids)
	}
	for _, id := range []string{"a", "b", "c"} {
		create(t, l, record(id))
	}
	ids := each(time.Time{}, func(r jobs.PublicRecord) error {
		entry, err := l.Load(t.Context(), r.JobID)
		if err == nil {
			_, err = l.Update(t.Context(), entry)
		}
		return err
	})
	if diff := cmp.Diff([]string{"a", "b", "c"}, ids); diff != "" {
		t.Error(diff)
	}
	if ids := each(time.Now().Add(time.Hour), nothing); ids != nil {
		t.Errorf("%q were written in an hour", ids)
	}
	failure := errors.New("enough of it")
	if err := l.Each(t.Context(), time.Time{}, func(jobs.PublicRecord) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("what fails is passed over: %v", err)
	}
}
