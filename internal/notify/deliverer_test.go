package notify_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"rekey/internal/jobs"
	"rekey/internal/notify"
)

// memory is a Store, Letters and a Recorder.
type memory struct {
	mu        sync.Mutex // Guards what follows.
	states    map[string]notify.State
	revisions map[string]uint64
	letters   []notify.DeadLetter
	counted   map[string]int
	broken    error // What every write and read fails with.

	now time.Time // Of a test that sets it.
}

func newMemory() *memory {
	return &memory{states: map[string]notify.State{}, revisions: map[string]uint64{}, counted: map[string]int{}}
}

// Load returns a state. Its revision is how often it was written.
func (m *memory) Load(_ context.Context, key string) (notify.State, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.states[key], m.revisions[key], m.broken
}

// Save keeps a state.
func (m *memory) Save(_ context.Context, key string, s notify.State, revision uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if revision != m.revisions[key] {
		return 0, jobs.ErrConflict
	}
	m.states[key] = s
	m.revisions[key]++
	return m.revisions[key], m.broken
}

// Add keeps a letter.
func (m *memory) Add(_ context.Context, l notify.DeadLetter) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.letters = append(m.letters, l)
	return m.broken
}

// Notified counts.
func (m *memory) Notified(receiver, result string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counted[receiver+" "+result]++
}

// courier is a Courier to a server that answers with a status, and how often that was asked.
func courier(t *testing.T, m *memory, status int, change func(*notify.Receiver)) (*notify.Deliverer, *atomic.Int64) {
	t.Helper()
	asked := new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	hook := receiver(notify.TypeWebhook)
	if change != nil {
		change(hook)
	}
	c, err := notify.NewDeliverer(notify.Config{
		Receiver: *hook, Sender: notify.NewSender("1", env{"URL": server.URL}.lookup), Store: m, DeadLetters: m, Recorder: m, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, asked
}

func TestDeliver(t *testing.T) {
	t.Parallel()
	soon := time.Now().Add(time.Hour)
	const first = "message.hook.7"
	receiver := notify.ReceiverKey("hook")
	tests := []struct {
		name      string
		status    int
		states    map[string]notify.State
		change    func(*notify.Receiver)
		data      []byte // Default: a result.
		age       time.Duration
		count     uint64 // Default 1.
		again     bool
		wantDone  bool
		wantAsked int64
		wantCode  string
		want      map[string]int
		wantFail  map[string]int // Failures by the key of the store.
	}{
		{name: "delivered", status: 204, wantDone: true, wantAsked: 1, want: map[string]int{"hook delivered": 1}},
		{
			name: "delivered after failures", status: 200, states: map[string]notify.State{receiver: {Failures: 3}}, wantDone: true, wantAsked: 1,
			want: map[string]int{"hook delivered": 1}, wantFail: map[string]int{receiver: 0},
		},
		{name: "down", status: 500, wantAsked: 1, want: map[string]int{"hook failed": 1}, wantFail: map[string]int{receiver: 1, first: 0}},
		{name: "refused", status: 400, wantAsked: 1, want: map[string]int{"hook failed": 1}, wantFail: map[string]int{receiver: 0, first: 1}},
		{
			name: "refused for the last time", status: 400, count: 3, states: map[string]notify.State{first: {Failures: 2}}, wantDone: true, wantAsked: 1,
			wantCode: notify.CodeRefused, want: map[string]int{"hook given_up": 1},
		},
		{name: "gone", status: 410, wantDone: true, wantAsked: 1, wantCode: notify.CodeGone, want: map[string]int{"hook given_up": 1}, wantFail: map[string]int{receiver: 1}},
		{name: "the receiver waits", status: 204, states: map[string]notify.State{receiver: {RetryAt: soon, Failures: 1}}, wantFail: map[string]int{receiver: 1}},
		{name: "it came early", status: 204, count: 2, states: map[string]notify.State{first: {RetryAt: soon, Failures: 1}}},
		{name: "too old", status: 204, age: 2 * time.Hour, wantDone: true, wantCode: notify.CodeExhausted, want: map[string]int{"hook given_up": 1}},
		{
			name: "another one's", status: 204, change: func(t *notify.Receiver) { t.Filter.Accounts = []string{"other"} }, wantDone: true,
		},
		{
			name: "another one's by now", status: 204, change: func(t *notify.Receiver) { t.Filter.Accounts = []string{"other"} }, again: true,
			wantDone: true, wantAsked: 1, want: map[string]int{"hook delivered": 1},
		},
		{name: "no result", status: 204, data: []byte("{}"), wantDone: true, wantCode: notify.CodeMalformed, want: map[string]int{"hook given_up": 1}},
		{
			name: "a template that fails", status: 204, change: func(t *notify.Receiver) { t.Template = `{{if eq .Outcome "revoked"}}x{{end}}` },
			wantDone: true, wantCode: notify.CodeMalformed, want: map[string]int{"hook given_up": 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMemory()
			maps.Copy(m.states, tt.states)
			c, asked := courier(t, m, tt.status, tt.change)
			d := notify.Delivery{Data: tt.data, Key: "7", Since: time.Now().Add(-tt.age), Count: max(tt.count, 1), Again: tt.again}
			if d.Data == nil {
				d.Data = published(t, nil)
			}
			verdict, err := c.Deliver(t.Context(), d)
			if err != nil || verdict.Done != tt.wantDone || verdict.Done == (verdict.Delay > 0) || asked.Load() != tt.wantAsked {
				t.Errorf("Deliver = %+v, %v after %d requests", verdict, err, asked.Load())
			}
			if !maps.Equal(m.counted, tt.want) {
				t.Errorf("counted %v, want %v", m.counted, tt.want)
			}
			for key, want := range tt.wantFail {
				if got := m.states[key].Failures; got != want {
					t.Errorf("%s has %d failures, want %d", key, got, want)
				}
			}
			if (tt.wantCode == "") != (len(m.letters) == 0) || tt.wantCode != "" && m.letters[0].Code != tt.wantCode {
				t.Errorf("the dead letters are %+v, want one of %s", m.letters, tt.wantCode)
			}
		})
	}
}

func TestDeliverWithoutAStore(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.broken = errors.New("no NATS")
	c, asked := courier(t, m, http.StatusNoContent, nil)
	d := notify.Delivery{Data: published(t, nil), Key: "7", Since: time.Now(), Count: 1}
	if _, err := c.Deliver(t.Context(), d); !errors.Is(err, m.broken) || asked.Load() != 0 {
		t.Errorf("Deliver = %v after %d requests", err, asked.Load())
	}
	if _, _, err := c.Capacity(t.Context()); !errors.Is(err, m.broken) {
		t.Errorf("Room = %v", err)
	}
}

func TestDeliverWhileStopping(t *testing.T) {
	t.Parallel()
	m := newMemory()
	c, _ := courier(t, m, http.StatusNoContent, nil)
	ctx, stop := context.WithCancelCause(t.Context())
	stop(jobs.ErrStopping)
	verdict, err := c.Deliver(ctx, notify.Delivery{Data: published(t, nil), Key: "7", Since: time.Now(), Count: 1})
	if err != nil || verdict != (jobs.Settlement{}) || len(m.states) > 0 || len(m.counted) > 0 {
		t.Errorf("Deliver = %+v, %v; it left %v and %v", verdict, err, m.states, m.counted)
	}
}

func TestRoom(t *testing.T) {
	t.Parallel()
	key := notify.ReceiverKey("hook")
	tests := []struct {
		name     string
		kind     notify.Type
		state    notify.State
		wantRoom int
		wantWait bool
	}{
		{"well", notify.TypeWebhook, notify.State{}, 4, false},
		{"a chat", notify.TypeSlack, notify.State{}, 1, false},
		{"after failures", notify.TypeWebhook, notify.State{Failures: 2, RetryAt: time.Now().Add(-time.Second)}, 1, false},
		{"waiting", notify.TypeWebhook, notify.State{Failures: 2, RetryAt: time.Now().Add(time.Hour)}, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMemory()
			m.states[key] = tt.state
			c, _ := courier(t, m, http.StatusNoContent, func(hook *notify.Receiver) { hook.Type = tt.kind })
			capacity, wait, err := c.Capacity(t.Context())
			if err != nil || capacity != tt.wantRoom || (wait > 0) != tt.wantWait {
				t.Errorf("Capacity = %d, %s, %v", capacity, wait, err)
			}
		})
	}
}

// A wait that one notification got is not forgotten because another one was taken in the same moment, nor the
// other way round.
func TestWaitsOutliveDeliveriesUnderWay(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusNoContent, http.StatusBadRequest, http.StatusServiceUnavailable} {
		m := newMemory()
		key := notify.ReceiverKey("hook")
		until := time.Now().Add(time.Hour)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Meanwhile another notification gets a wait.
			if _, err := m.Save(r.Context(), key, notify.State{Failures: 3, RetryAt: until}, 0); err != nil {
				t.Error(err)
			}
			w.WriteHeader(status)
		}))
		t.Cleanup(server.Close)
		c, err := notify.NewDeliverer(notify.Config{
			Receiver: *receiver(notify.TypeWebhook), Sender: notify.NewSender("1", env{"URL": server.URL}.lookup),
			Store: m, DeadLetters: m, Recorder: m, Logger: zap.NewNop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Deliver(t.Context(), notify.Delivery{Data: published(t, nil), Key: "7", Since: time.Now(), Count: 1}); err != nil {
			t.Fatal(err)
		}
		if got := m.states[key]; got.Failures != 3 || !got.RetryAt.Equal(until) {
			t.Errorf("after a %d the state of the receiver is %+v", status, got)
		}
	}
}
