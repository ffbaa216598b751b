package bus

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"rekey/internal/clock"
	"rekey/internal/names"
	"rekey/internal/natsserver"
	"rekey/internal/pace"
)

// pace is the shared state of a rig.
func (r *rig) pace() *pace.States {
	return pace.NewStates(Store[pace.State](r.conn, r.conn.names.Pace()), r.conn.clock)
}

func loadPace(t *testing.T, p *pace.States, key string) (pace.State, uint64) {
	t.Helper()
	state, revision, err := p.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return state, revision
}

// TestPaceOfManyWorkersAtOnce: what is taken by compare-and-set is taken once.
func TestPaceOfManyWorkersAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const workers, each, bucket = 6, 5, "x509_project/0123"
	limit := pace.Limit{Capacity: 100, Refill: 1, Every: time.Hour}
	var all sync.WaitGroup
	for range workers {
		p := r.pace()
		all.Go(func() {
			for taken := 0; taken < each; {
				state, revision, err := p.Load(t.Context(), bucket)
				if err != nil {
					t.Error(err)
					return
				}
				state.Learn(limit, pace.SourceConfig)
				state.Take(moment, 0, 0)
				saved, err := p.Save(t.Context(), bucket, state, revision)
				if err != nil {
					t.Error(err)
					return
				}
				if saved != 0 {
					taken++
				}
			}
		})
	}
	all.Wait()
	state, _ := loadPace(t, r.pace(), bucket)
	if got := limit.Capacity - state.Tokens(moment); got != workers*each {
		t.Errorf("%d tokens are out, want %d", got, workers*each)
	}
}

func TestPaceWatch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.conn.clock = clock.New() // As of a server that is not in this process.
	p := r.pace()
	var before pace.State
	before.Close(moment)
	if _, err := p.Save(t.Context(), "x509_project/a", before, 0); err != nil {
		t.Fatal(err)
	}
	type change struct {
		key      string
		paused   int64
		revision uint64
	}
	seen, known := make(chan change, 10), make(chan struct{}, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- p.Watch(ctx, func(key string, s pace.State, revision uint64) {
			seen <- change{key, s.PausedUntil, revision}
		}, func() { known <- struct{}{} })
	}()
	if got := receive(t, "the state from before", seen); got != (change{"x509_project/a", before.PausedUntil, 1}) {
		t.Errorf("saw %+v", got)
	}
	receive(t, "the end of what was there", known)
	var after pace.State
	after.Close(moment.Add(time.Hour))
	revision, err := r.pace().Save(t.Context(), "oauth_token/b", after, 0) // Another worker's.
	if err != nil {
		t.Fatal(err)
	}
	if got := receive(t, "the change", seen); got != (change{"oauth_token/b", after.PausedUntil, revision}) {
		t.Errorf("saw %+v", got)
	}
	// Our own writes show the server's clock; here it is the same.
	if revision, err = p.Save(t.Context(), "oauth_token/b", before, revision); err != nil || revision == 0 {
		t.Fatalf("revision %d, error %v", revision, err)
	}
	receive(t, "our own change", seen)
	if least, most := p.Clock(); least > 0 || most < 0 || most == least {
		t.Errorf("the server's clock is between %s and %s from ours, which is the same", least, most)
	}
	stopping := errors.New("stopping")
	cancel(stopping)
	if err := receive(t, "the end", ended); !errors.Is(err, stopping) {
		t.Errorf("the watch ended with: %v", err)
	}
}

func TestPaceSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	until := moment.Add(123456 * time.Microsecond)
	for round := range 2 {
		server := startServer(t, natsserver.Config{StoreDir: dir})
		r := &rig{conn: dial(t, ConnectConfig{Embedded: server}), names: names.New("rekey"), log: zap.NewNop()}
		p := r.pace()
		if round == 0 {
			var state pace.State
			state.Close(until)
			if revision, err := p.Save(t.Context(), "b", state, 0); err != nil || revision == 0 {
				t.Fatalf("revision %d, error %v", revision, err)
			}
		}
		state, _ := loadPace(t, p, "b")
		if got := state.Paused(moment); !got.Equal(until) {
			t.Errorf("round %d: paused until %s, want %s", round, got, until)
		}
		r.conn.Close()
		server.Stop()
	}
}
