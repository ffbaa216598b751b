package refused_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"rekey/internal/refused"
)

// trail keeps what is stored in it.
type trail struct {
	t       *testing.T
	begun   time.Time
	failing atomic.Bool
	reports []refused.Report
	at      []time.Duration
	ids     []string
	maybe   []bool
}

// StoreRefusals implements refused.Trail.
func (s *trail) StoreRefusals(_ context.Context, id string, r refused.Report, maybeStored bool) error {
	s.reports, s.at, s.ids, s.maybe = append(s.reports, r), append(s.at, time.Since(s.begun)), append(s.ids, id), append(s.maybe, maybeStored)
	if s.failing.Load() {
		return errors.New("no answer")
	}
	return nil
}

// run runs a log in virtual time, while do is at work, and stops it.
func run(t *testing.T, do func(*refused.Log, *trail)) *trail {
	t.Helper()
	s := &trail{t: t, begun: time.Now()}
	l, err := refused.New(refused.Config{Worker: "w1", Now: time.Now, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx, s) }()
	do(l, s)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return s
}

var wrongToken = refused.Key{Route: "GET /v1/jobs", Status: 401, Code: "unauthorized"}

// pass lets time go by.
func pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now().UTC()
		s := run(t, func(l *refused.Log, _ *trail) {
			l.Refused(wrongToken, "192.0.2.7:4000")
			pass(500 * time.Millisecond)
			l.Refused(wrongToken, "192.0.2.8:4001")
			l.Refused(wrongToken, "[2001:db8:1:2:3::1%eth0]:4000")
			l.Refused(refused.Key{Door: "github", Route: "/in/{door}", Status: 401, Code: "unauthorized"}, "")
			pass(10 * time.Second)
			l.Refused(wrongToken, "[::ffff:192.0.2.9]:1")
			pass(time.Minute)
			l.Refused(wrongToken, "192.0.2.9:1") // It is not written before the worker stops.
		})
		count := func(n uint64, first, last time.Duration) refused.Count {
			return refused.Count{Count: n, First: begun.Add(first), Last: begun.Add(last)}
		}
		want := []refused.Report{
			{Worker: "w1", From: begun, Until: begun.Add(500 * time.Millisecond), Refusals: []refused.Refusals{
				{Key: wrongToken, Count: count(3, 0, 500*time.Millisecond), Networks: []refused.Network{{"192.0.2.0/24", 2}, {"2001:db8:1:2::/64", 1}}},
				{
					Key: refused.Key{Door: "github", Route: "/in/{door}", Status: 401, Code: "unauthorized"}, Count: count(1, 500*time.Millisecond, 500*time.Millisecond),
					Networks: []refused.Network{}, Elsewhere: 1,
				},
			}},
			{Worker: "w1", From: begun.Add(10500 * time.Millisecond), Until: begun.Add(10500 * time.Millisecond), Refusals: []refused.Refusals{
				{Key: wrongToken, Count: count(1, 10500*time.Millisecond, 10500*time.Millisecond), Networks: []refused.Network{{"192.0.2.0/24", 1}}},
			}},
			{Worker: "w1", From: begun.Add(70500 * time.Millisecond), Until: begun.Add(70500 * time.Millisecond), Refusals: []refused.Refusals{
				{Key: wrongToken, Count: count(1, 70500*time.Millisecond, 70500*time.Millisecond), Networks: []refused.Network{{"192.0.2.0/24", 1}}},
			}},
		}
		if diff := cmp.Diff(want, s.reports); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]time.Duration{time.Second, 62 * time.Second, 70500 * time.Millisecond}, s.at); diff != "" {
			t.Errorf("when they were written (-want +got):\n%s", diff)
		}
	})
}

// TestFloodIsBounded: strangers decide neither how often something is written, nor how much, nor what is known of others.
func TestFloodIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stolen := refused.Key{Client: "soar", Route: "POST /v1/jobs", Status: 403, Code: "forbidden"}
		sent, soar := uint64(0), uint64(0)
		s := run(t, func(l *refused.Log, _ *trail) {
			for minute := range 24 * 60 {
				for i := range 100 {
					l.Refused(refused.Key{Door: fmt.Sprint("a-door-with-a-long-name-", i), Route: "/in/{door}", Status: 401, Code: "unauthorized"}, fmt.Sprintf("10.%d.%d.1:4000", minute%250, i))
					l.Refused(refused.Key{Door: "a-door-with-a-long-name-0", Route: "/in/{door}", Status: 401, Code: "unauthorized"}, fmt.Sprintf("192.168.%d.1:4000", i))
					sent += 2
				}
				l.Refused(stolen, "192.0.2.7:1")
				soar++
				pass(time.Minute)
			}
		})
		if most := 60 + 24*4 + 2; len(s.reports) > most {
			t.Errorf("%d reports are written in a day, want up to %d", len(s.reports), most)
		}
		for _, r := range s.reports {
			data, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if len(data) > 32<<10 {
				t.Errorf("a report has %d bytes", len(data))
			}
			sent -= r.Others.Count
			for _, one := range r.Refusals {
				if one.Key == stolen {
					soar -= one.Count.Count
					continue
				}
				sent -= one.Count.Count
				networks := one.Elsewhere
				for _, n := range one.Networks {
					networks += n.Count
				}
				if networks != one.Count.Count || len(one.Networks) > 8 {
					t.Fatalf("%d requests from %d networks, and %d of all: %+v", networks, len(one.Networks), one.Count.Count, one)
				}
			}
		}
		if sent != 0 || soar != 0 {
			t.Errorf("%d refusals of strangers and %d of a client are in no report", sent, soar)
		}
	})
}

// TestReportIsStoredOnce: after an error, the same report is written under the same id, and what came since is in the next one.
func TestReportIsStoredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := run(t, func(l *refused.Log, s *trail) {
			s.failing.Store(true)
			l.Refused(wrongToken, "192.0.2.7:1")
			pass(1500 * time.Millisecond)
			l.Refused(wrongToken, "192.0.2.7:1")
			l.Refused(wrongToken, "192.0.2.7:1")
			pass(time.Second)
			s.failing.Store(false)
			pass(2 * time.Minute)
		})
		var counts []uint64
		for _, r := range s.reports {
			counts = append(counts, r.Refusals[0].Count.Count)
		}
		if diff := cmp.Diff([]uint64{1, 1, 1, 2}, counts); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]bool{false, true, true, false}, s.maybe); diff != "" {
			t.Error(diff)
		}
		if s.ids[0] != s.ids[1] || s.ids[0] != s.ids[2] || s.ids[0] == s.ids[3] || !strings.HasPrefix(s.ids[0], "refused-") {
			t.Errorf("the ids are %v", s.ids)
		}
	})
}

// TestStopWithoutTrail: a trail that takes nothing does not keep a worker from stopping.
func TestStopWithoutTrail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run(t, func(l *refused.Log, s *trail) {
			s.failing.Store(true)
			l.Refused(wrongToken, "192.0.2.7:1")
			pass(10 * time.Minute)
		})
	})
}
