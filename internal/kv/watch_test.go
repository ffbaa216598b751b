package kv

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
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

func TestWatch(t *testing.T) {
	t.Parallel()
	b := open(t, newJetStream(t))
	revision := save(t, b, "a.1", "before", 0)
	save(t, b, "b.1", "elsewhere", 0)
	seen := make(chan string, 10)
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- b.Watch(ctx, "a.>", func(key string, v value) { seen <- key + "=" + v.Name }, func() { seen <- "known" })
	}()
	expect := func(want string) {
		t.Helper()
		if got := receive(t, want, seen); got != want {
			t.Errorf("saw %q, want %q", got, want)
		}
	}
	expect("a.1=before")
	expect("known")
	save(t, b, "b.2", "elsewhere", 0)
	save(t, b, "a.1", "changed", revision)
	expect("a.1=changed")
	if err := b.kv.Delete(t.Context(), "a.1"); err != nil { // Nobody is told.
		t.Fatal(err)
	}
	save(t, b, "a.2", "new", 0)
	expect("a.2=new")
	cause := errors.New("stopping")
	cancel(cause)
	if err := receive(t, "the end", ended); !errors.Is(err, cause) {
		t.Errorf("the watch ended with: %v", err)
	}
}
