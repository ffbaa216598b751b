package bus

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/layout"
	"rekey/internal/names"
)

// desk records what it is handed and answers as the test says.
type desk struct {
	accept func(ctx context.Context, e jobs.Event) (jobs.Accepted, error)

	mu     sync.Mutex // Guards events.
	events []jobs.Event
}

func (d *desk) Accept(ctx context.Context, e jobs.Event) (jobs.Accepted, error) {
	d.mu.Lock()
	d.events = append(d.events, e)
	d.mu.Unlock()
	if d.accept == nil && !e.Direct { // As without policies.
		return jobs.Accepted{}, e.NotDirect
	}
	if d.accept == nil {
		return jobs.Accepted{Result: jobs.EventAccepted, JobID: "job"}, nil
	}
	return d.accept(ctx, e)
}

// seen returns how often each event came, by class and sequence.
func (d *desk) seen() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := map[string]int{}
	for _, e := range d.events {
		seen[fmt.Sprintf("%s %d", e.Class, e.Seq)]++
	}
	return seen
}

// counter counts what became of events.
type counter struct {
	mu     sync.Mutex // Guards counts.
	counts map[string]int
}

func (c *counter) EventReceived(result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[result]++
}

// DoorEvent counts the event of a door.
func (c *counter) DoorEvent(door, result string) { c.EventReceived("door " + door + " " + result) }

func (c *counter) get() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}

func (r *rig) intake(d *desk, c *counter) Intake {
	return Intake{Conn: r.conn, Acceptor: d, Recorder: c, Logger: r.log}
}

// isAboutEvent reports whether the consumers of events have nothing left.
func (r *rig) settled(t *testing.T) bool {
	t.Helper()
	for _, name := range []string{layout.ConsumerIncidents, layout.ConsumerIncidentsBelow, layout.ConsumerEvents} {
		cons, err := r.conn.js.Consumer(t.Context(), r.names.Events(), name)
		if err != nil {
			return false
		}
		if info := cons.CachedInfo(); info.NumPending > 0 || info.NumAckPending > 0 {
			return false
		}
	}
	return true
}

func TestIntakeHandlesEachEventOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	want := map[string]int{}
	for i := range 60 {
		class := []string{jobs.ClassIncident, jobs.ClassRotation, "siem.alert"}[i%3]
		want[fmt.Sprintf("%s %d", class, r.publish(t, class, plain, nil))] = 1
	}
	var d desk
	var c counter
	first := background(t, r.intake(&d, &c).Run)
	second := background(t, r.intake(&d, &c).Run) // Another worker, on the same consumers.
	for i := range 60 {
		class := []string{jobs.ClassIncident, jobs.ClassRotation, "siem.alert"}[i%3]
		want[fmt.Sprintf("%s %d", class, r.publish(t, class, plain, nil))] = 1
	}
	eventually(t, "all are counted", func() bool { return c.get()["accepted"] >= len(want) })
	eventually(t, "all are settled", func() bool { return r.settled(t) })
	first()
	second()
	if diff := cmp.Diff(want, d.seen()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"accepted": len(want)}, c.get()); diff != "" {
		t.Error(diff)
	}
}

// TestCostlyEventsWait: an event for which there is no place is put back without a word, and holds up no other.
func TestCostlyEventsWait(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const costly = 3 * intakeWorkers
	for range costly {
		r.publish(t, jobs.ClassIncident, plain, nil)
	}
	last := r.publish(t, jobs.ClassIncident, plain, nil)
	room := make(chan struct{})
	d := desk{accept: func(_ context.Context, e jobs.Event) (jobs.Accepted, error) {
		select {
		case <-room:
		default:
			if e.Seq != last {
				return jobs.Accepted{}, jobs.ErrCrowded
			}
		}
		return jobs.Accepted{Result: jobs.EventAccepted, JobID: "job"}, nil
	}}
	var c counter
	stop := background(t, r.intake(&d, &c).Run)
	eventually(t, "the other one is taken in", func() bool { return c.get()["accepted"] == 1 })
	close(room)
	eventually(t, "all are taken in", func() bool { return c.get()["accepted"] == costly+1 })
	stop()
	if text := r.logs.text(); strings.Contains(text, "not taken in") {
		t.Errorf("the log complains: %s", text)
	}
}

// TestLargeEventsLeaveRoom: however many large events there are, the small ones behind them are taken in.
func TestLargeEventsLeaveRoom(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const large = 3 * intakeWorkers
	for range large {
		r.publish(t, jobs.ClassIncident, plain+strings.Repeat(" ", largeEvent), nil)
	}
	last := r.publish(t, jobs.ClassIncident, plain, nil)
	release := make(chan struct{})
	var c counter
	d := desk{accept: func(_ context.Context, e jobs.Event) (jobs.Accepted, error) {
		if e.Seq != last {
			<-release
		}
		return jobs.Accepted{Result: jobs.EventAccepted, JobID: "job"}, nil
	}}
	stop := background(t, r.intake(&d, &c).Run)
	eventually(t, "the small one is taken in", func() bool { return c.get()["accepted"] == 1 })
	close(release)
	eventually(t, "all are taken in", func() bool { return c.get()["accepted"] == large+1 })
	stop()
}

func TestIntakePassesOnWhatTheMessageSays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	before := time.Now().Add(-time.Minute)
	r.publish(t, jobs.ClassIncident, plain, with(binary("id-1", "/soar"), nats.MsgIdHdr, "m"))
	var d desk
	var c counter
	stop := background(t, r.intake(&d, &c).Run)
	eventually(t, "it is counted", func() bool { return c.get()["accepted"] == 1 })
	stop()
	e := d.events[0]
	if e.Source != "/soar" || e.ID != "id-1" || e.Seq != 1 || e.Subject != "rekey.v1.event.incident" {
		t.Errorf("the event is %+v", e)
	}
	if e.At.Before(before) || e.At.After(time.Now().Add(time.Minute)) {
		t.Errorf("it was accepted at %s", e.At)
	}
	if e.Request.Kind != kinds.X509Disable {
		t.Errorf("the request is %+v", e.Request)
	}
}

// blockingOthers lets nothing but incidents through until release is closed.
func blockingOthers(release <-chan struct{}) func(context.Context, jobs.Event) (jobs.Accepted, error) {
	return func(_ context.Context, e jobs.Event) (jobs.Accepted, error) {
		if !names.New("rekey").IsIncident(e.Subject) {
			<-release
		}
		return jobs.Accepted{Result: jobs.EventDuplicate}, nil
	}
}

func TestIntakeOfABlockedClassDelaysNoIncident(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	release := make(chan struct{})
	d := desk{accept: blockingOthers(release)}
	var c counter
	stop := background(t, r.intake(&d, &c).Run)
	const flood = 5 * intakeWorkers
	for range flood {
		r.publish(t, jobs.ClassRotation, plain, nil)
	}
	eventually(t, "the others have all workers that they may", func() bool { return len(d.seen()) == senderAtOnce })
	r.publish(t, jobs.ClassIncident, plain, nil)
	eventually(t, "the incident is taken in", func() bool { return c.get()["duplicate"] == 1 })
	close(release)
	eventually(t, "all are taken in", func() bool { return c.get()["duplicate"] == flood+1 })
	stop()
}
