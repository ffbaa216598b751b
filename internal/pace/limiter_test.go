package pace

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// memoryStore is a Store that hands every change to all watchers at once.
type memoryStore struct {
	mu       sync.Mutex
	states   map[string]State
	revision uint64
	watchers []func(string, State, uint64)
	broken   error
}

func (m *memoryStore) Load(_ context.Context, key string) (State, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.states[key].Clone(), m.revision, m.broken
}

// Save counts revisions of all keys together: the test has one bucket.
func (m *memoryStore) Save(_ context.Context, key string, s State, revision uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil || revision != m.revision {
		return 0, m.broken
	}
	m.revision++
	m.states[key] = s.Clone()
	for _, changed := range m.watchers {
		changed(key, s.Clone(), m.revision)
	}
	return m.revision, nil
}

func (m *memoryStore) Watch(ctx context.Context, changed func(string, State, uint64), ready func()) error {
	m.mu.Lock()
	m.watchers = append(m.watchers, changed)
	m.mu.Unlock()
	ready()
	<-ctx.Done()
	return ctx.Err()
}

func (m *memoryStore) Clock() (least, most time.Duration) { return 0, 0 }

func (m *memoryStore) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = err
}

// shares is a Recorder that remembers whether the buckets are shared.
type shares struct{ shared bool }

func (*shares) BucketTokens(string, float64) {}
func (*shares) RateLimited(string, bool)     {}
func (*shares) Paused(string, time.Duration) {}
func (r *shares) PaceShared(shared bool)     { r.shared = shared }

// twoLimiters are two workers at buckets of 2 calls, then one each second.
func twoLimiters(t *testing.T, store Store) (one, two *Limiter, recorder *shares) {
	t.Helper()
	recorder = &shares{}
	build := func() *Limiter {
		l := New(Config{
			Store: store, Sets: map[string]Set{"set": {Configured: Limit{Capacity: 2, Refill: 1, Every: time.Second}}},
			MaxRetryAfter: time.Hour, Patience: 10 * time.Second, Recorder: recorder, Logger: zap.NewNop(),
		})
		go func() {
			if err := l.Run(t.Context()); err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		return l
	}
	one, two = build(), build()
	synctest.Wait()
	return one, two, recorder
}

// TestLimitersShareABucket: a permit of one worker counts for the other, and a refusal pauses both.
func TestLimitersShareABucket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, two, _ := twoLimiters(t, &memoryStore{states: map[string]State{}})
		b, ctx := Bucket{Set: "set", Entity: "e"}, t.Context()
		if w := one.Take(ctx, b, 0); w != (Wait{}) {
			t.Fatalf("the first call waits: %+v", w)
		}
		if w := two.Take(ctx, b, 0); w != (Wait{}) {
			t.Fatalf("the second call waits: %+v", w)
		}
		if w := two.Take(ctx, b, 0); time.Until(w.At) < time.Second || !w.NotBefore.IsZero() {
			t.Errorf("the third call waits: %+v", w)
		}
		entry := one.Enter(ctx, b, 0)
		if !entry.HeldUntil.IsZero() {
			t.Fatalf("the permit is not used: held until %s", entry.HeldUntil)
		}
		sample := one.Sample(entry, time.Now())
		until := time.Now().Add(time.Minute)
		if got := one.Refused(ctx, sample, time.Now(), until, Limit{}); !got.Equal(until) {
			t.Errorf("paused until %s, want %s", got, until)
		}
		if w := two.Take(ctx, b, 0); !w.NotBefore.Equal(until) {
			t.Errorf("the other worker is not paused: %+v", w)
		}
	})
}

// TestPermitsEnd: a permit that is not used for long, or dropped, is gone; its token stays taken.
func TestPermitsEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  func(l *Limiter, b Bucket)
	}{
		{"dropped", func(l *Limiter, b Bucket) { l.Drop(b, 0) }},
		{"not used", func(*Limiter, Bucket) { <-time.After(permitLife) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				one, _, _ := twoLimiters(t, nil)
				b := Bucket{Set: "set", Entity: "e"}
				if w := one.Take(t.Context(), b, 0); w != (Wait{}) {
					t.Fatalf("the call waits: %+v", w)
				}
				tt.end(one, b)
				if ok, _ := one.local(b).use(time.Now(), 0); ok {
					t.Error("the permit can still be used")
				}
			})
		})
	}
}

// TestStoreFails: without the store a worker goes by its own estimate, and shares again when the store works.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &memoryStore{states: map[string]State{}}
		one, _, recorder := twoLimiters(t, store)
		b, ctx := Bucket{Set: "set", Entity: "e"}, t.Context()
		store.fail(errors.New("no quorum"))
		if w := one.Take(ctx, b, 0); w != (Wait{}) || recorder.shared {
			t.Fatalf("without the store the call waits %+v, shared %v", w, recorder.shared)
		}
		store.fail(nil)
		<-time.After(downPause)
		if w := one.Take(ctx, b, 0); w != (Wait{}) || !recorder.shared || store.revision == 0 {
			t.Errorf("with the store the call waits %+v, shared %v", w, recorder.shared)
		}
	})
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{
		"set/e": true, "set/a_b-c.d=": true, "set/a/b": true, "set": false, "set/e e": false, "set/ü": false,
	} {
		if _, ok := parseKey(key); ok != want {
			t.Errorf("%q: %v, want %v", key, ok, want)
		}
	}
	if b, ok := parseKey(Bucket{Set: "set", Entity: "mdb sa"}.Key()); !ok || b != (Bucket{Set: "set", Entity: "mdb_sa"}) {
		t.Errorf("got %+v, %v", b, ok)
	}
}

// TestTakeNowPlansNoTurn: a request for now takes a token as any other, and moves no turn of others where there is none.
func TestTakeNowPlansNoTurn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		bucket Bucket
		tokens int
	}{
		{"the limit is known", Bucket{Set: "set", Entity: "e"}, 2},
		{"nothing is known", Bucket{Set: "other", Entity: "e"}, 1}, // One call at a time.
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, asked, _ := twoLimiters(t, nil)
				b, ctx := tt.bucket, t.Context()
				for n := range tt.tokens {
					if !l.TakeNow(ctx, b, 0) || !asked.TakeNow(ctx, b, 0) {
						t.Fatalf("call %d has no permit", n+1)
					}
				}
				for range 10 {
					if asked.TakeNow(ctx, b, 0) {
						t.Fatal("there is a permit too many")
					}
				}
				if first, second := l.Take(ctx, b, 0), asked.Take(ctx, b, 0); first != second || first == (Wait{}) {
					t.Errorf("the next one waits %+v; where others had asked for now, %+v", first, second)
				}
				if entry := asked.Enter(ctx, b, 0); !entry.HeldUntil.IsZero() {
					t.Errorf("the permit cannot be used before %s", entry.HeldUntil)
				}
			})
		})
	}
	t.Run("slots of an account", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var a, asked AccountSlots
			one := Slots{All: 1}
			if !a.TakeNow(0, one) || !asked.TakeNow(0, one) || asked.TakeNow(0, one) || asked.TakeNow(0, one) {
				t.Fatal("there is not one slot")
			}
			if first, second := a.Take(0, one), asked.Take(0, one); first != second || first == (Wait{}) {
				t.Errorf("the next one waits %+v; where others had asked for now, %+v", first, second)
			}
		})
	})
}
