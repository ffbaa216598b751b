package bus

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
)

// pauses opens the pauses of a rig.
func (r *rig) pauses(t *testing.T) *Pauses {
	t.Helper()
	p := NewPauses(r.conn, r.names, 1)
	if err := p.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// until reads one pause.
func until(t *testing.T, p *Pauses, bucket string) time.Time {
	t.Helper()
	value, _, err := p.bucket.Load().Load(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return value.PausedUntil
}

func TestPausesBeforeTheyAreOpen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := NewPauses(r.conn, r.names, 1)
	if err := p.Announce(t.Context(), "b", moment); !errors.Is(err, errNotOpen) {
		t.Errorf("announcing: %v", err)
	}
	if err := p.Watch(t.Context(), func(string, time.Time) {}); !errors.Is(err, errNotOpen) {
		t.Errorf("watching: %v", err)
	}
	p = NewPauses(r.conn, r.names, 3) // More copies than there are servers.
	if err := p.Open(t.Context()); err == nil {
		t.Error("a bucket with three copies was made on one server")
	}
}

func TestPausesOnlyGrow(t *testing.T) {
	t.Parallel()
	p := newRig(t).pauses(t)
	const bucket = "idp/mdb_sa_id_0123"
	steps := []struct {
		name        string
		until, want time.Duration // After moment.
	}{
		{"the first", time.Minute, time.Minute},
		{"the same", time.Minute, time.Minute},
		{"an earlier one", time.Second, time.Minute},
		{"a later one", time.Hour, time.Hour},
	}
	for _, step := range steps {
		if err := p.Announce(t.Context(), bucket, moment.Add(step.until)); err != nil {
			t.Fatal(err)
		}
		if got := until(t, p, bucket); !got.Equal(moment.Add(step.want)) {
			t.Errorf("%s: paused until %s", step.name, got)
		}
	}
}

func TestPausesOfManyWorkersAtOnce(t *testing.T) {
	t.Parallel()
	p := newRig(t).pauses(t)
	const workers = 8
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			for j := range 5 {
				if err := p.Announce(t.Context(), "b", moment.Add(time.Duration(j*workers+i)*time.Second)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got, want := until(t, p, "b"), moment.Add((5*workers-1)*time.Second); !got.Equal(want) {
		t.Errorf("paused until %s, want the latest, %s", got, want)
	}
}

func TestPausesWatch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.pauses(t)
	announce := func(bucket string, until time.Time) {
		t.Helper()
		if err := p.Announce(t.Context(), bucket, until); err != nil {
			t.Fatal(err)
		}
	}
	announce("x509/a", moment)
	type pause struct {
		bucket string
		until  time.Time
	}
	seen := make(chan pause, 10)
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	watched := r.pauses(t) // Another worker's.
	go func() {
		ended <- watched.Watch(ctx, func(bucket string, until time.Time) { seen <- pause{bucket, until} })
	}()
	expect := func(bucket string, until time.Time) {
		t.Helper()
		if got := receive(t, "a pause", seen); got.bucket != bucket || !got.until.Equal(until) {
			t.Errorf("saw %+v", got)
		}
	}
	expect("x509/a", moment) // From before.
	announce("idp/b", moment.Add(time.Minute))
	expect("idp/b", moment.Add(time.Minute))
	announce("x509/a", moment.Add(-time.Minute)) // Changes nothing.
	announce("x509/a", moment.Add(time.Hour))
	expect("x509/a", moment.Add(time.Hour))
	stopping := errors.New("stopping")
	cancel(stopping)
	if err := receive(t, "the end", ended); !errors.Is(err, stopping) {
		t.Errorf("the watch ended with: %v", err)
	}
}

func TestPausesSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := moment.Add(123456789 * time.Nanosecond)
	for round := range 2 {
		server := startServer(t, EmbeddedConfig{StoreDir: dir})
		r := &rig{conn: dial(t, ConnectConfig{Embedded: server}), names: NewNames("rekey"), log: zap.NewNop()}
		p := r.pauses(t)
		if round == 0 {
			if err := p.Announce(t.Context(), "b", at); err != nil {
				t.Fatal(err)
			}
		}
		if got := until(t, p, "b"); !got.Equal(at) {
			t.Errorf("round %d: paused until %s, want %s", round, got, at)
		}
		r.conn.Close()
		server.Stop()
	}
}
