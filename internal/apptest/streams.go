package apptest

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
)

// Localhost is an address of this machine.
func Localhost(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// FreePorts are ports of this machine that are free, all different.
func FreePorts(t *testing.T, n int) []int {
	t.Helper()
	// All stay open until the last has been found, so that they differ.
	var open []*net.TCPListener
	var ports []int
	for range n {
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, listener)
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	for _, listener := range open {
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return ports
}

// ClusterAnswer bounds one question to a cluster: while a stream has no leader there is no answer.
const ClusterAnswer = 2 * time.Second

// Info is what the cluster says of a stream, nil when it says nothing.
func (s *Stranger) Info(stream string) *jetstream.StreamInfo {
	ctx, cancel := context.WithTimeout(s.T.Context(), ClusterAnswer)
	defer cancel()
	st, err := s.Js.Stream(ctx, stream)
	if err != nil {
		return nil
	}
	return st.CachedInfo()
}

// Leader waits until a stream has a leader and returns its name.
func (s *Stranger) Leader(stream string) string {
	s.T.Helper()
	var name string
	Eventually(s.T, "a leader of "+stream, func() bool {
		if info := s.Info(stream); info != nil && info.Cluster != nil {
			name = info.Cluster.Leader
		}
		return name != ""
	})
	return name
}

// Complete reports whether every replica of a stream is there and up to date.
func (s *Stranger) Complete(stream string) bool {
	info := s.Info(stream)
	if info == nil || info.Cluster == nil {
		return false
	}
	current := 0
	for _, peer := range info.Cluster.Replicas {
		if peer.Current && !peer.Offline {
			current++
		}
	}
	return current == 2
}

// AwaitEnds waits until n jobs have results and the queue is empty, for longer than others wait: what
// failed a few times is repeated after half a minute. It tells what is left when that is not enough.
func (w *Worker) AwaitEnds(n int) {
	w.T.Helper()
	const long = 4 * Patience
	deadline := time.Now().Add(long)
	for {
		results, jobs := w.Info("REKEY_RESULTS"), w.Info("REKEY_JOBS")
		if results != nil && jobs != nil && w.Count("REKEY_RESULTS") >= n && w.Count("REKEY_JOBS") == 0 {
			return
		}
		if time.Now().After(deadline) {
			break
		}
		<-time.After(200 * time.Millisecond)
	}
	for _, r := range w.Records("") {
		if !r.Done() {
			w.T.Logf("not done: %s", Encoded(r))
		}
	}
	for _, msg := range w.Messages("REKEY_JOBS") {
		w.T.Logf("in the queue: %d %s", msg.Sequence, msg.Data)
	}
	w.T.Fatalf("%d results are not there after %s, having %d", n, long, w.Count("REKEY_RESULTS"))
}

// Forgetful makes streams remember the ids of their messages as shortly as the server allows.
func (s *Stranger) Forgetful(streams ...string) {
	s.T.Helper()
	for _, stream := range streams {
		st, err := s.Js.Stream(s.T.Context(), stream)
		if err != nil {
			s.T.Fatal(err)
		}
		cfg := st.CachedInfo().Config
		cfg.Duplicates = 100 * time.Millisecond
		if _, err := s.Js.UpdateStream(s.T.Context(), cfg); err != nil {
			s.T.Fatal(err)
		}
	}
}

// Copies publishes n copies of an event in parallel and returns how many of them the stream
// took as new.
func (s *Stranger) Copies(n int, payload, id string) (stored int) {
	s.T.Helper()
	var publishers sync.WaitGroup
	var mu sync.Mutex
	for range n {
		publishers.Go(func() {
			msg := &nats.Msg{Subject: "rekey.v1.event.incident", Data: []byte(payload), Header: nats.Header{}}
			if id != "" {
				msg.Header.Set(nats.MsgIdHdr, id)
			}
			ack, err := s.Js.PublishMsg(s.T.Context(), msg)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.T.Error(err) // Not Fatal: this is another goroutine.
			} else if !ack.Duplicate {
				stored++
			}
		})
	}
	publishers.Wait()
	return stored
}

// DidOnce checks that there is one job, of which one call and one result came.
func (w *Worker) DidOnce(t *testing.T, atlas *StandIn, part string) {
	t.Helper()
	if got := len(w.Results(1)); got != 1 {
		t.Errorf("got %d results, want 1", got)
	}
	if got := len(atlas.Requests(part)); got != 1 {
		t.Errorf("got %d calls, want 1", got)
	}
	if got := len(w.Records("")); got != 1 {
		t.Errorf("the ledger has %d jobs, want 1", got)
	}
}

// CrashTimeout leaves the time to kill the worker during a call. The claim of a worker that was
// lost holds for 10 s longer.
const CrashTimeout = 4 * time.Second

// Flow publishes events for the targets from 0 on, each until it is acknowledged, until it is
// stopped, and then says how many there were. Every event has an identity of its own, which it
// keeps when it is published again because no acknowledgement came.
func (s *Stranger) Flow(pause time.Duration) (stop func() int) {
	ctx, cancel := context.WithCancel(s.T.Context())
	var publisher sync.WaitGroup
	n := 0
	publisher.Go(func() {
		for ; ctx.Err() == nil; n++ {
			for !s.offer(n) && s.T.Context().Err() == nil { //nolint:contextcheck // One that may be stored is not left without an answer.
				<-time.After(pause)
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	})
	return func() int {
		cancel()
		publisher.Wait()
		return n
	}
}

// offer publishes the event for a target and reports whether it was acknowledged, soon: a server
// that was killed does not say so.
func (s *Stranger) offer(n int) bool {
	ctx, cancel := context.WithTimeout(s.T.Context(), 300*time.Millisecond)
	defer cancel()
	event := X509Disable(HexID(n)).CloudEvent("urn:siem", HexID(n))
	class := []string{"incident", "rotation"}[n%2]
	_, err := s.Js.Publish(ctx, "rekey.v1.event."+class, []byte(event))
	return err == nil
}

// Bound lets a stream hold so many bytes more; 0 takes the limit away.
func (s *Stranger) Bound(stream string, more int64) {
	s.T.Helper()
	st, err := s.Js.Stream(s.T.Context(), stream)
	if err != nil {
		s.T.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.MaxBytes = -1
	if more > 0 {
		cfg.MaxBytes = int64(st.CachedInfo().State.Bytes) + more
	}
	if _, err := s.Js.UpdateStream(s.T.Context(), cfg); err != nil {
		s.T.Fatal(err)
	}
}

// LetterOf waits for the dead letter of an event and returns its number.
func (s *Stranger) LetterOf(event string) uint64 {
	s.T.Helper()
	var number uint64
	Eventually(s.T, "the dead letter of event "+event, func() bool {
		for _, letter := range s.Messages("REKEY_DLQ") {
			if letter.Header.Get("Rekey-Event-Id") == event {
				number = letter.Sequence
			}
		}
		return number > 0
	})
	return number
}

// EachSecond checks that a schedule that ticks every second has made an event for each tick and lost none, and that no
// two jobs are of the same one: several workers may fire a tick. The jobs of the latest ticks may be under way.
func (w *Worker) EachSecond(name string) {
	w.T.Helper()
	var ticks []time.Time
	for _, msg := range w.Messages("REKEY_EVENTS") {
		var event struct{ ID, Source string }
		if err := json.Unmarshal(msg.Data, &event); err != nil || event.Source != "rekey/schedule/"+name {
			w.T.Fatalf("an event is of %s, %v", event.Source, err)
		}
		at, err := time.Parse(time.RFC3339, event.ID)
		if err != nil || msg.Header.Get("Nats-Msg-Id") != "" {
			w.T.Fatalf("an event is called %s, and has the message id %q", event.ID, msg.Header.Get("Nats-Msg-Id"))
		}
		ticks = append(ticks, at)
	}
	slices.SortFunc(ticks, time.Time.Compare)
	ticks = slices.CompactFunc(ticks, time.Time.Equal)
	for i := 1; i < len(ticks); i++ {
		if got := ticks[i].Sub(ticks[i-1]); got != time.Second {
			w.T.Errorf("after the tick of %s comes that of %s", ticks[i-1], ticks[i])
		}
	}
	jobOf := map[string]string{}
	for _, r := range w.Results(1) {
		for _, e := range r.Record.Events {
			if other := jobOf[e.ID]; other != "" && other != r.Record.JobID {
				w.T.Errorf("the tick of %s has the jobs %s and %s", e.ID, other, r.Record.JobID)
			}
			jobOf[e.ID] = r.Record.JobID
		}
	}
}

// Tally holds what is true of every acknowledged event whatever was killed on the way: each
// target from 0 to n has exactly one result, which is a success, and no call that was not
// needed: a second one only when it is not known what became of the first, and then the
// result says so. It returns how many calls were repeated for that.
func (s *Stranger) Tally(t *testing.T, atlas *StandIn, n int) (repeated int) {
	t.Helper()
	results := map[string][]jobs.PublicRecord{}
	for _, r := range s.Results(n) {
		project := r.Record.Params["project_id"]
		results[project] = append(results[project], r.Record)
	}
	calls := map[string]int{}
	for _, c := range atlas.Requests("/userSecurity/customerX509") {
		calls[projectOf(c.URI)]++
	}
	for i := range n {
		project := HexID(i)
		if len(results[project]) != 1 {
			t.Errorf("project %d has %d results, want 1: %s", i, len(results[project]), Encoded(results[project]))
			continue
		}
		r := results[project][0]
		switch {
		case !r.Outcome.Success():
			t.Errorf("project %d is %s: %s", i, r.Outcome, r.Detail)
		case calls[project] < 1:
			t.Errorf("project %d is %s without a call", i, r.Outcome)
		case calls[project] > 1 && r.AttemptsMaybeEffective < calls[project]:
			t.Errorf("project %d was called %d times, and %d attempts may have had an effect: %s", i, calls[project], r.AttemptsMaybeEffective, Encoded(r))
		}
		repeated += calls[project] - 1
	}
	if len(results) != n {
		t.Errorf("%d projects have results, want %d", len(results), n)
	}
	return repeated
}

// projectOf is the project in the path of a call to x509.disable.
func projectOf(uri string) string {
	_, rest, _ := strings.Cut(uri, "/groups/")
	project, _, _ := strings.Cut(rest, "/")
	return project
}
