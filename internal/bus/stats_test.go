package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/layout"
)

// gauges are the values that were set last.
type gauges struct {
	mu      sync.Mutex // Guards all that follows.
	pending map[string]float64
	oldest  map[string]time.Duration
	waiting float64
	dead    float64
	proofs  float64
	watched float64
	rounds  int
}

func (g *gauges) SetQueue(lane string, pending float64, oldest time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pending == nil {
		g.pending, g.oldest = map[string]float64{}, map[string]time.Duration{}
	}
	g.pending[lane], g.oldest[lane] = pending, oldest
}

func (g *gauges) SetWaiting(n float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = n
}

func (g *gauges) SetProofs(pending, watched float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.proofs, g.watched = pending, watched
}

func (g *gauges) SetDeadLetters(n float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead = n
	g.rounds++ // It is the last of a round.
}

func (g *gauges) roundsDone() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rounds
}

func TestStats(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, lane := range jobs.Lanes() {
		r.consumer(t, lane, time.Hour)
	}
	r.checkConsumers(t)
	var g gauges
	running := 0
	s := Stats{Conn: r.conn, Running: func() int { return running }, Recorder: &g, Logger: r.log}
	refresh := func(wantPending map[string]float64, wantWaiting, wantDead float64) {
		t.Helper()
		what := fmt.Sprintf("%v pending, %v waiting, %v dead letters", wantPending, wantWaiting, wantDead)
		eventually(t, what, func() bool { // The server counts behind.
			if err := s.refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			return maps.Equal(wantPending, g.pending) && g.waiting == wantWaiting && g.dead == wantDead
		})
	}
	refresh(map[string]float64{"urgent": 0, "normal": 0, "bulk": 0}, 0, 0)
	if diff := cmp.Diff(map[string]time.Duration{"urgent": 0, "normal": 0, "bulk": 0}, g.oldest); diff != "" {
		t.Error(diff)
	}

	r.fill(t, jobs.LaneNormal, 3) // Two lanes in turn: the oldest of one is not that of all.
	r.fill(t, jobs.LaneBulk, 2)
	before := time.Now()
	refresh(map[string]float64{"urgent": 0, "normal": 3, "bulk": 2}, 0, 0)
	after := time.Now()
	for lane, seq := range map[string]uint64{"normal": 1, "bulk": 4} {
		queued := storedAt(t, r, r.names.Jobs(), seq).Time
		if got := g.oldest[lane]; got < before.Sub(queued) || got > after.Sub(queued) {
			t.Errorf("the oldest job of %s is %s old, want %s to %s", lane, got, before.Sub(queued), after.Sub(queued))
		}
	}
	if got := g.oldest["urgent"]; got != 0 {
		t.Errorf("the oldest urgent job is %s old, there is none", got)
	}

	// One is put back for an hour, one runs, one is pulled ahead.
	cons, err := r.conn.js.Consumer(t.Context(), r.names.Jobs(), layout.ConsumerOf(jobs.LaneNormal))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		msg := next(t, cons)
		if i == 0 {
			if err := settle(t.Context(), r.conn.nc, msg, jobs.Settlement{Delay: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
	}
	running = 1
	refresh(map[string]float64{"urgent": 0, "normal": 0, "bulk": 2}, 2, 0)
	s.Ahead = func(lane jobs.Lane) int {
		return map[jobs.Lane]int{jobs.LaneNormal: 1, jobs.LaneBulk: 7}[lane] // Bulk's are settled by now.
	}
	refresh(map[string]float64{"urgent": 0, "normal": 1, "bulk": 2}, 1, 0)

	if _, err := r.conn.deadLetterEvent(t.Context(), event.Message{At: moment}, jobs.Event{}, errors.New("bad")); err != nil {
		t.Fatal(err)
	}
	refresh(map[string]float64{"urgent": 0, "normal": 1, "bulk": 2}, 1, 1)
	running = 5 // Some that run are settled by now.
	refresh(map[string]float64{"urgent": 0, "normal": 1, "bulk": 2}, 0, 1)
}

func TestStatsOldestAfterTheFirstIsDone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cons := r.consumer(t, jobs.LaneUrgent, time.Hour)
	r.fill(t, jobs.LaneUrgent, 1)
	between := time.Now()
	r.fill(t, jobs.LaneBulk, 1)
	r.enqueue(t, newJob(t, "second", jobs.LaneUrgent))
	if err := settle(t.Context(), r.conn.nc, next(t, cons), jobs.Settlement{Done: true}); err != nil {
		t.Fatal(err)
	}
	stream, err := r.conn.js.Stream(t.Context(), r.names.Jobs())
	if err != nil {
		t.Fatal(err)
	}
	oldest, err := (Stats{Conn: r.conn}).oldest(t.Context(), stream, jobs.LaneUrgent)
	if err != nil || oldest <= 0 || oldest > time.Since(between)+50*time.Millisecond {
		t.Errorf("the oldest job is %s old, error %v", oldest, err)
	}
}

// TestStatsOldestIsNoRotation: a rotation takes days, and is no job that is late; one behind it counts.
func TestStatsOldestIsNoRotation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rotation := newJob(t, "rotation", jobs.LaneUrgent)
	rotation.Kind = jobs.RotatingKinds()[0]
	var err error
	if rotation.Params, err = jobs.NewParams(rotation.Kind, map[string]any{"rotation": "ci"}); err != nil {
		t.Fatal(err)
	}
	stream, err := r.conn.js.Stream(t.Context(), r.names.Jobs())
	if err != nil {
		t.Fatal(err)
	}
	for _, behind := range []bool{false, true} {
		if r.enqueue(t, rotation); behind {
			r.enqueue(t, newJob(t, "behind", jobs.LaneUrgent))
		}
		oldest, err := (Stats{Conn: r.conn}).oldest(t.Context(), stream, jobs.LaneUrgent)
		if err != nil || (oldest > 0) != behind {
			t.Errorf("a job behind the rotation %v: the oldest is %s old, error %v", behind, oldest, err)
		}
	}
}

func TestStatsRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var g gauges
	s := Stats{Conn: r.conn, Running: func() int { return 0 }, Recorder: &g, Logger: r.log}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	// There are no consumers before the workers make them; that is no reason to end.
	eventually(t, "it says what is missing", func() bool {
		return strings.Contains(r.logs.text(), "reading consumer jobs-urgent")
	})
	for _, lane := range jobs.Lanes() {
		r.consumer(t, lane, time.Hour)
	}
	r.checkConsumers(t)
	eventually(t, "the gauges are set", func() bool { return g.roundsDone() > 0 })
	cancel()
	if err := receive(t, "the end", ended); err != nil {
		t.Error(err)
	}
}
