package app_test

import (
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

// stranger is a NATS client that knows the names of the design and nothing of the code.
type stranger struct {
	t  *testing.T
	nc *nats.Conn
	js jetstream.JetStream
}

func dialNATS(t *testing.T, url string, opts ...nats.Option) *stranger {
	t.Helper()
	nc, err := nats.Connect(url, append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	return &stranger{t: t, nc: nc, js: js}
}

// in is the same client on behalf of a subtest.
func (s *stranger) in(t *testing.T) *stranger {
	t.Helper()
	other := *s
	other.t = t
	return &other
}

// publish publishes an event of a class, waits until it is stored and returns the answer. The
// headers are pairs of name and value.
func (s *stranger) publish(class, payload string, headers ...string) *jetstream.PubAck {
	s.t.Helper()
	msg := &nats.Msg{Subject: "rekey.v1.event." + class, Data: []byte(payload), Header: nats.Header{}}
	for i := 0; i+1 < len(headers); i += 2 {
		msg.Header[headers[i]] = []string{headers[i+1]}
	}
	ack, err := s.js.PublishMsg(s.t.Context(), msg)
	if err != nil {
		s.t.Fatalf("publishing on %s: %v", msg.Subject, err)
	}
	return ack
}

// messages returns everything that is in a stream, oldest first.
func (s *stranger) messages(stream string) []*jetstream.RawStreamMsg {
	s.t.Helper()
	st, err := s.js.Stream(s.t.Context(), stream)
	if err != nil {
		s.t.Fatalf("opening %s: %v", stream, err)
	}
	state := st.CachedInfo().State
	if state.Msgs == 0 {
		return nil
	}
	var list []*jetstream.RawStreamMsg
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		msg, err := st.GetMsg(s.t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			s.t.Fatalf("reading %s: %v", stream, err)
		}
		list = append(list, msg)
	}
	return list
}

// count is how many messages are in a stream.
func (s *stranger) count(stream string) int {
	s.t.Helper()
	st, err := s.js.Stream(s.t.Context(), stream)
	if err != nil {
		s.t.Fatalf("opening %s: %v", stream, err)
	}
	return int(st.CachedInfo().State.Msgs)
}

// result is a message on rekey.v1.result.>.
type result struct {
	subject     string
	contentType string
	event       cloudEvent
	record      jobs.Record // The event's data.
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
const allResults = 4 * patience

// goroutines is where all goroutines stand.
func goroutines(t *testing.T) string {
	t.Helper()
	var stacks strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
		t.Error(err)
	}
	return stacks.String()
}

// results waits until there are n results, and returns all there are.
func (s *stranger) results(n int) []result {
	s.t.Helper()
	// The patience is for each result: many of them may take their time on a busy machine. Results that come so slowly that
	// it looks as if nothing went on are told, too, with what everybody is at.
	slow := time.Now().Add(allResults)
	for have := s.count("REKEY_RESULTS"); have < n; {
		if time.Now().After(slow) {
			s.t.Fatalf("%d of %d results after %s\n%s", have, n, allResults, goroutines(s.t))
		}
		eventually(s.t, fmt.Sprintf("%d results, having %d", n, have), func() bool {
			before := have
			have = s.count("REKEY_RESULTS")
			return have > before
		})
	}
	var list []result
	for _, msg := range s.messages("REKEY_RESULTS") {
		r := result{subject: msg.Subject, contentType: msg.Header.Get("Content-Type")}
		if err := json.Unmarshal(msg.Data, &r.event); err != nil {
			s.t.Fatalf("the result is no JSON: %v", err)
		}
		if err := json.Unmarshal(r.event.Data, &r.record); err != nil {
			s.t.Fatalf("the result's data is no record: %v", err)
		}
		list = append(list, r)
	}
	return list
}

// resultOf waits for the result of the job whose target contains part.
func (s *stranger) resultOf(part string) jobs.Record {
	s.t.Helper()
	var found jobs.Record
	eventually(s.t, "the result for "+part, func() bool {
		for _, r := range s.results(0) {
			if strings.Contains(r.record.Target, part) {
				found = r.record
				return true
			}
		}
		return false
	})
	return found
}

// letters waits until there are n dead letters, and returns all there are.
func (s *stranger) letters(n int) []*jetstream.RawStreamMsg {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%d dead letters", n), func() bool { return s.count("REKEY_DLQ") >= n })
	return s.messages("REKEY_DLQ")
}

// settled waits until all events are taken in and no job is left, so that what has not
// happened by now will not.
func (s *stranger) settled() {
	s.t.Helper()
	eventually(s.t, "all events and jobs to be settled", func() bool { return s.taken() && s.count("REKEY_JOBS") == 0 })
}

// taken reports whether every event was taken in.
func (s *stranger) taken() bool {
	s.t.Helper()
	st, err := s.js.Stream(s.t.Context(), "REKEY_EVENTS")
	if err != nil {
		s.t.Fatal(err)
	}
	consumers, all := 0, true
	list := st.ListConsumers(s.t.Context())
	for info := range list.Info() {
		consumers++
		all = all && info.NumPending == 0 && info.NumAckPending == 0
	}
	if err := list.Err(); err != nil {
		s.t.Fatal(err)
	}
	return consumers > 0 && all
}
