package apptest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
)

// Stranger is a NATS client that knows the names of the design and nothing of the code.
type Stranger struct {
	T  *testing.T
	Nc *nats.Conn
	Js jetstream.JetStream
}

// DialNATS connects to a server.
func DialNATS(t *testing.T, url string, opts ...nats.Option) *Stranger {
	t.Helper()
	nc, err := nats.Connect(url, append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(Patience))
	if err != nil {
		t.Fatal(err)
	}
	return &Stranger{T: t, Nc: nc, Js: js}
}

// In is the same client on behalf of a subtest.
func (s *Stranger) In(t *testing.T) *Stranger {
	t.Helper()
	other := *s
	other.T = t
	return &other
}

// Publish publishes an event of a class, waits until it is stored and returns the answer. The
// headers are pairs of name and value.
func (s *Stranger) Publish(class, payload string, headers ...string) *jetstream.PubAck {
	s.T.Helper()
	msg := &nats.Msg{Subject: "rekey.v1.event." + class, Data: []byte(payload), Header: nats.Header{}}
	for i := 0; i+1 < len(headers); i += 2 {
		msg.Header[headers[i]] = []string{headers[i+1]}
	}
	ack, err := s.Js.PublishMsg(s.T.Context(), msg)
	if err != nil {
		s.T.Fatalf("publishing on %s: %v", msg.Subject, err)
	}
	return ack
}

// Messages returns everything that is in a stream, oldest first.
func (s *Stranger) Messages(stream string) []*jetstream.RawStreamMsg {
	s.T.Helper()
	st, err := s.Js.Stream(s.T.Context(), stream)
	if err != nil {
		s.T.Fatalf("opening %s: %v", stream, err)
	}
	state := st.CachedInfo().State
	if state.Msgs == 0 {
		return nil
	}
	var list []*jetstream.RawStreamMsg
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		msg, err := st.GetMsg(s.T.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			s.T.Fatalf("reading %s: %v", stream, err)
		}
		list = append(list, msg)
	}
	return list
}

// Count is how many messages are in a stream.
func (s *Stranger) Count(stream string) int {
	s.T.Helper()
	st, err := s.Js.Stream(s.T.Context(), stream)
	if err != nil {
		s.T.Fatalf("opening %s: %v", stream, err)
	}
	only, beside := counted[stream]
	if !beside {
		return int(st.CachedInfo().State.Msgs)
	}
	n, err := CountSubjects(s.T.Context(), st, only)
	if err != nil {
		s.T.Fatalf("counting %s: %v", only, err)
	}
	return n
}

// CountSubjects counts the messages of a stream on some subjects.
func CountSubjects(ctx context.Context, st jetstream.Stream, only string) (n int, err error) {
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(only))
	if err != nil {
		return 0, err
	}
	for _, messages := range info.State.Subjects {
		n += int(messages)
	}
	return n, nil
}

// counted are the subjects that Count counts in streams that hold something else beside: verdicts, and checks.
var counted = map[string]string{"REKEY_RESULTS": "rekey.v1.result.>", "REKEY_JOBS": "rekey.v1.job.>"}

// Result is a message on rekey.v1.result.> or rekey.v1.proof.>.
type Result struct {
	Subject     string
	ContentType string
	Event       cloudEvent
	Record      jobs.PublicRecord // The event's data.
}

// cloudEvent is a CloudEvent 1.0 as its specification has it.
type cloudEvent struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject"`
	Time            string          `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	Data            json.RawMessage `json:"data"`
}

// allResults is how long results may take all together.
const allResults = 4 * Patience

// goroutines is the stack of all goroutines.
func goroutines(t *testing.T) string {
	t.Helper()
	var stacks strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
		t.Error(err)
	}
	return stacks.String()
}

// Results waits until there are n results, and returns all there are.
func (s *Stranger) Results(n int) []Result {
	s.T.Helper()
	// The patience is for each result: many of them may take their time on a busy machine. Results that come so slowly that
	// it looks as if nothing went on are reported, too, with all stacks.
	slow := time.Now().Add(allResults)
	for have := s.Count("REKEY_RESULTS"); have < n; {
		if time.Now().After(slow) {
			s.T.Fatalf("%d of %d results after %s\n%s", have, n, allResults, goroutines(s.T))
		}
		Eventually(s.T, fmt.Sprintf("%d results, having %d", n, have), func() bool {
			before := have
			have = s.Count("REKEY_RESULTS")
			return have > before
		})
	}
	var list []Result
	for _, r := range s.announced() {
		if strings.HasPrefix(r.Subject, "rekey.v1.result.") {
			list = append(list, r)
		}
	}
	return list
}

// Proofs waits until there are n verdicts, and returns all there are.
func (s *Stranger) Proofs(n int) []Result {
	s.T.Helper()
	var list []Result
	Eventually(s.T, fmt.Sprintf("%d verdicts", n), func() bool {
		list = nil
		for _, r := range s.announced() {
			if strings.HasPrefix(r.Subject, "rekey.v1.proof.") {
				list = append(list, r)
			}
		}
		return len(list) >= n
	})
	return list
}

// announced are all results and verdicts.
func (s *Stranger) announced() []Result {
	s.T.Helper()
	var list []Result
	for _, msg := range s.Messages("REKEY_RESULTS") {
		r := Result{Subject: msg.Subject, ContentType: msg.Header.Get("Content-Type")}
		if err := json.Unmarshal(msg.Data, &r.Event); err != nil {
			s.T.Fatalf("the result is no JSON: %v", err)
		}
		if err := json.Unmarshal(r.Event.Data, &r.Record); err != nil {
			s.T.Fatalf("the result's data is no record: %v", err)
		}
		list = append(list, r)
	}
	return list
}

// ResultOf waits for the result of the job whose target contains part.
func (s *Stranger) ResultOf(part string) jobs.PublicRecord {
	s.T.Helper()
	var found jobs.PublicRecord
	Eventually(s.T, "the result for "+part, func() bool {
		for _, r := range s.Results(0) {
			if strings.Contains(r.Record.Target, part) {
				found = r.Record
				return true
			}
		}
		return false
	})
	return found
}

// Letters waits until there are n dead letters, and returns all there are.
func (s *Stranger) Letters(n int) []*jetstream.RawStreamMsg {
	s.T.Helper()
	Eventually(s.T, fmt.Sprintf("%d dead letters", n), func() bool { return s.Count("REKEY_DLQ") >= n })
	return s.Messages("REKEY_DLQ")
}

// Settled waits until all events are taken in and no job is left, so that what has not
// happened by now will not.
func (s *Stranger) Settled() {
	s.T.Helper()
	Eventually(s.T, "all events and jobs to be settled", func() bool { return s.Taken() && s.Count("REKEY_JOBS") == 0 })
}

// Taken reports whether every event was taken in.
func (s *Stranger) Taken() bool {
	s.T.Helper()
	st, err := s.Js.Stream(s.T.Context(), "REKEY_EVENTS")
	if err != nil {
		s.T.Fatal(err)
	}
	consumers, all := 0, true
	list := st.ListConsumers(s.T.Context())
	for info := range list.Info() {
		consumers++
		all = all && info.NumPending == 0 && info.NumAckPending == 0
	}
	if err := list.Err(); err != nil {
		s.T.Fatal(err)
	}
	return consumers > 0 && all
}

// CheckHeaders checks headers of a message.
func CheckHeaders(t *testing.T, msg *jetstream.RawStreamMsg, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := msg.Header.Get(name); got != value {
			t.Errorf("the header %s is %q, want %q", name, got, value)
		}
	}
}
