package kv

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"rekey/internal/jobs"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
)

func TestAll(t *testing.T) {
	t.Parallel()
	b := open(t, newJetStream(t))
	check := func(want map[string]value) {
		t.Helper()
		got, err := b.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	check(map[string]value{}) // At once, although nothing comes.
	want := map[string]value{}
	for i := range 300 {
		key := fmt.Sprintf("a.%d", i)
		save(t, b, key, key, 0)
		want[key] = value{Name: key}
	}
	save(t, b, "a.0", "changed", 1)
	want["a.0"] = value{Name: "changed"}
	if err := b.kv.Delete(t.Context(), "a.1"); err != nil {
		t.Fatal(err)
	}
	delete(want, "a.1")
	check(want)
	ended, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("stopping")
	cancel(cause)
	if all, err := b.All(ended); err == nil || all != nil {
		t.Errorf("an ended context gives %d values, error %v", len(all), err)
	}
}

// TestWatchAndFollow: both hand over what is there, or came after a revision, and then what changes.
func TestWatchAndFollow(t *testing.T) {
	t.Parallel()
	for name, watches := range map[string]bool{"watch": true, "follow": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, newJetStream(t))
			save(t, b, "a", "first", 0)
			revision := save(t, b, "b", "before", 0)
			seen := make(chan string, 10)
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := make(chan error, 1)
			found := func(e Entry[value]) { seen <- e.Key + "=" + e.Value.Name }
			go func() {
				if watches {
					ended <- b.Watch(ctx, found, func() { seen <- "known" })
				} else {
					ended <- b.Follow(ctx, "", 1, found)
				}
			}()
			expect := func(want string) {
				t.Helper()
				if got := receive(t, want, seen); got != want {
					t.Errorf("saw %q, want %q", got, want)
				}
			}
			if watches {
				expect("a=first")
			}
			expect("b=before")
			if watches {
				expect("known")
			}
			save(t, b, "b", "changed", revision)
			expect("b=changed")
			if err := b.kv.Delete(t.Context(), "a"); err != nil { // That is passed over.
				t.Fatal(err)
			}
			save(t, b, "c", "new", 0)
			expect("c=new")
			cause := errors.New("stopping")
			cancel(cause)
			if err := receive(t, "the end", ended); !errors.Is(err, cause) {
				t.Errorf("it ended with: %v", err)
			}
		})
	}
}

// TestFollowOneKey: other keys are passed over.
func TestFollowOneKey(t *testing.T) {
	t.Parallel()
	b := open(t, newJetStream(t))
	revision := save(t, b, "a", "first", 0)
	save(t, b, "ab", "other", 0)
	seen := make(chan Entry[value], 10)
	go b.Follow(t.Context(), "a", 0, func(e Entry[value]) { seen <- e }) //nolint:errcheck // It ends with the test.
	if e := receive(t, "the value", seen); e.Value.Name != "first" || e.Revision != revision {
		t.Errorf("saw %+v", e)
	}
	save(t, b, "ab", "more", 2)
	save(t, b, "a", "second", revision)
	if e := receive(t, "the change", seen); e.Key != "a" || e.Value.Name != "second" {
		t.Errorf("saw %+v", e)
	}
}

// TestReadingMakesNothing: a store whose bucket is missing is empty, and stays missing, until something is written.
func TestReadingMakesNothing(t *testing.T) {
	t.Parallel()
	js := newJetStream(t)
	s := New[value](js, Config{Bucket: "TEST"})
	if _, revision, err := s.Load(t.Context(), "a"); err != nil || revision != 0 {
		t.Errorf("loading: revision %d, error %v", revision, err)
	}
	if all, err := s.All(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("all: %v, error %v", all, err)
	}
	if _, err := s.Age(t.Context(), "a", 1); !errors.Is(err, jobs.ErrConflict) {
		t.Errorf("age: %v", err)
	}
	if err := s.Look(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Watch(t.Context(), nil, nil); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("watching: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	found := make(chan Entry[value], 1)
	ended := make(chan error, 1)
	go func() { ended <- s.Follow(ctx, "", 0, func(e Entry[value]) { found <- e }) }()
	for stream := range js.StreamNames(t.Context()).Name() {
		t.Errorf("there is a stream %s", stream)
	}
	save(t, s, "a", "1", 0)
	if e := receive(t, "what was written", found); e.Value.Name != "1" {
		t.Errorf("followed %+v", e)
	}
	cancel()
	if err := receive(t, "the end", ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
