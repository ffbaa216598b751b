package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
)

// patience is how long a test waits for something that must come.
const patience = 30 * time.Second

// value is what the buckets of these tests hold.
type value struct {
	Name string    `json:"name"`
	At   time.Time `json:"at,omitzero"`
}

// newJetStream starts a server inside the process.
func newJetStream(t *testing.T) jetstream.JetStream {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(patience) {
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

func open(t *testing.T, js jetstream.JetStream) *Store[value] {
	t.Helper()
	s := New[value](js, Config{Bucket: "TEST", Description: "A test.", TTL: time.Hour})
	if _, err := s.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// save writes a value and expects that to work.
func save(t *testing.T, b *Store[value], key, name string, revision uint64) uint64 {
	t.Helper()
	revision, err := b.Save(t.Context(), key, value{Name: name}, revision)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// receive waits for a value.
func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %s in vain for %s", patience, what)
		panic("unreachable")
	}
}

func TestOpenCreates(t *testing.T) {
	t.Parallel()
	js := newJetStream(t)
	open(t, js)
	kv, err := js.KeyValue(t.Context(), "TEST")
	if err != nil {
		t.Fatal(err)
	}
	status, err := kv.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg := status.Config()
	if cfg.TTL != time.Hour || cfg.History != 1 || cfg.Storage != jetstream.FileStorage || cfg.Replicas != 1 || cfg.Description != "A test." {
		t.Errorf("the bucket is %+v", cfg)
	}
}

func TestOpenUsesWhatExists(t *testing.T) {
	t.Parallel()
	js := newJetStream(t)
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "TEST", TTL: time.Minute, History: 5}); err != nil {
		t.Fatal(err)
	}
	b := open(t, js)
	save(t, b, "a", "1", 0)
	status, err := b.kv.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.TTL() != time.Minute || status.History() != 5 {
		t.Errorf("the bucket was changed: %+v", status.Config())
	}
}

func TestOpenByManyAtOnce(t *testing.T) {
	t.Parallel()
	js := newJetStream(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := New[value](js, Config{Bucket: "TEST"}).Put(t.Context(), "a", value{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestOpenTellsWhatFailed(t *testing.T) {
	t.Parallel()
	js := newJetStream(t)
	for name, cfg := range map[string]Config{"opening": {Bucket: "a b"}, "making": {Bucket: "TEST", Replicas: 3}} {
		if err := New[value](js, cfg).Put(t.Context(), "a", value{}); err == nil || !strings.Contains(err.Error(), name+" the bucket "+cfg.Bucket) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

func TestLoadAndSave(t *testing.T) {
	t.Parallel()
	b := open(t, newJetStream(t))
	if _, revision, err := b.Load(t.Context(), "a"); err != nil || revision != 0 {
		t.Errorf("an empty bucket has revision %d, error %v", revision, err)
	}
	if _, revision, err := b.Load(t.Context(), "no key"); err != nil || revision != 0 {
		t.Errorf("an invalid key has revision %d, error %v", revision, err)
	}
	at := time.Date(2026, 3, 1, 3, 4, 5, 123456789, time.UTC)
	first, err := b.Save(t.Context(), "a", value{Name: "1", At: at}, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, revision, err := b.Load(t.Context(), "a")
	if err != nil || revision != first {
		t.Errorf("revision %d, error %v, want %d", revision, err, first)
	}
	if diff := cmp.Diff(value{Name: "1", At: at}, got); diff != "" {
		t.Error(diff)
	}
	second := save(t, b, "a", "2", first)
	if second <= first {
		t.Errorf("revision %d follows %d", second, first)
	}
	if got, revision, err := b.Load(t.Context(), "a"); err != nil || got.Name != "2" || revision != second {
		t.Errorf("%+v of revision %d, error %v", got, revision, err)
	}
}

func TestSaveConflicts(t *testing.T) {
	t.Parallel()
	b := open(t, newJetStream(t))
	first := save(t, b, "a", "1", 0)
	second := save(t, b, "a", "2", first)
	other := save(t, b, "b", "other", 0)
	tests := []struct {
		name     string
		key      string
		revision uint64
	}{
		{"create what exists", "a", 0},
		{"over an older revision", "a", first},
		{"over the revision of another key", "a", other},
		{"over a revision to come", "a", other + 10},
		{"over what does not exist", "c", first},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			revision, err := b.Save(t.Context(), tt.key, value{Name: "late"}, tt.revision)
			if !errors.Is(err, jobs.ErrConflict) || revision != 0 {
				t.Errorf("revision %d, error %v", revision, err)
			}
		})
	}
	if got, revision, err := b.Load(t.Context(), "a"); err != nil || got.Name != "2" || revision != second {
		t.Errorf("%+v of revision %d, error %v", got, revision, err)
	}
}

func TestSaveAfterADelete(t *testing.T) {
	t.Parallel()
	b := open(t, newJetStream(t))
	revision := save(t, b, "a", "1", 0)
	if err := b.kv.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, latest, err := b.Load(t.Context(), "a"); err != nil || latest != 0 {
		t.Errorf("a deleted key has revision %d, error %v", latest, err)
	}
	if _, err := b.Save(t.Context(), "a", value{}, revision); !errors.Is(err, jobs.ErrConflict) {
		t.Errorf("over the revision before the delete: %v", err)
	}
	save(t, b, "a", "2", 0)
}

func TestSaveByManyAtOnce(t *testing.T) {
	t.Parallel()
	b := open(t, newJetStream(t))
	revision := save(t, b, "a", "0", 0)
	const writers = 8
	won := make(chan int, writers)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			_, err := b.Save(t.Context(), "a", value{Name: fmt.Sprint(i)}, revision)
			if err == nil {
				won <- i
			} else if !errors.Is(err, jobs.ErrConflict) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(won) != 1 {
		t.Fatalf("%d writers won", len(won))
	}
	if got, _, err := b.Load(t.Context(), "a"); err != nil || got.Name != fmt.Sprint(<-won) {
		t.Errorf("%+v is stored, error %v", got, err)
	}
}

// A replicated stream answers a wrong revision with another code than a single one.
func TestIsConflict(t *testing.T) {
	t.Parallel()
	code := func(code jetstream.ErrorCode) error {
		return fmt.Errorf("nats: %w", &jetstream.APIError{Code: 400, ErrorCode: code})
	}
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"nothing", nil, false},
		{"key exists", fmt.Errorf("writing: %w", jetstream.ErrKeyExists), true},
		{"wrong revision", code(jetstream.JSErrCodeStreamWrongLastSequence), true},
		{"wrong revision, replicated", code(jetstream.JSErrCodeStreamWrongLastSequenceConstant), true},
		{"another code", code(jetstream.JSErrCodeStreamNotFound), false},
		{"timeout", context.DeadlineExceeded, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := isConflict(tt.err); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestPut(t *testing.T) {
	t.Parallel()
	b := open(t, newJetStream(t))
	for _, name := range []string{"1", "2"} {
		if err := b.Put(t.Context(), "a", value{Name: name}); err != nil {
			t.Fatal(err)
		}
		if got, _, err := b.Load(t.Context(), "a"); err != nil || got.Name != name {
			t.Errorf("%+v is stored, error %v", got, err)
		}
	}
}

func TestErrorsNameTheKey(t *testing.T) {
	t.Parallel()
	js := newJetStream(t)
	b := open(t, js)
	if _, err := b.kv.Put(t.Context(), "odd", []byte("{")); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	unfit := New[map[string]any](js, Config{Bucket: "TEST"})
	bad := map[string]any{"f": func() {}}
	tests := []struct {
		name string
		call func() error
		want string
	}{
		{"no JSON", func() error { _, _, err := b.Load(t.Context(), "odd"); return err }, "decoding key odd"},
		{"reading", func() error { _, _, err := b.Load(ended, "a"); return err }, "reading key a"},
		{"saving", func() error { _, err := b.Save(ended, "a", value{}, 0); return err }, "writing key a"},
		{"putting", func() error { return b.Put(ended, "a", value{}) }, "writing key a"},
		{"key", func() error { return b.Put(t.Context(), "a b", value{}) }, "writing key a b"},
		{"saving a value that cannot be JSON", func() error { _, err := unfit.Save(t.Context(), "a", bad, 0); return err }, "encoding key a"},
		{"putting a value that cannot be JSON", func() error { return unfit.Put(t.Context(), "a", bad) }, "encoding key a"},
		{"all", func() error { _, err := b.All(t.Context()); return err }, "decoding key odd of TEST"},
		{"following", func() error { return b.Follow(t.Context(), "", 0, nil) }, "following TEST: reading stream KV_TEST: decoding key odd of TEST"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.call()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
			if errors.Is(err, jobs.ErrConflict) || errors.Is(err, jobs.ErrNotFound) {
				t.Errorf("the error says that nothing is wrong: %v", err)
			}
		})
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	b := open(t, newJetStream(t))
	begun := time.Now()
	first := save(t, b, "a", "one", 0)
	age, err := b.Age(t.Context(), "a", first)
	if most := time.Since(begun); err != nil || age < 0 || age > most {
		t.Errorf("the age is %s (%v), want at most %s", age, err, most)
	}
	second := save(t, b, "a", "two", first)
	for key, revision := range map[string]uint64{"a": first, "b": second} {
		if _, err := b.Age(t.Context(), key, revision); !errors.Is(err, jobs.ErrConflict) {
			t.Errorf("revision %d of %s: %v, want a conflict", revision, key, err)
		}
	}
	if _, err := b.Age(t.Context(), "a", second); err != nil {
		t.Error(err)
	}
	if _, err := b.Age(t.Context(), "..", 1); err == nil || !strings.Contains(err.Error(), "reading key ..") {
		t.Errorf("the error is %v", err)
	}
}
