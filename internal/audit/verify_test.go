package audit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/audit"
)

// stream is what a worker announces: five results, of which the third was not taken, for
// the stream had it, and the fourth was stored although its answer was lost.
func stream(t *testing.T) (list []audit.Result, head audit.Head, chain string) {
	t.Helper()
	c := audit.NewChain("w1", startedAt(time.Unix(1, 0)))
	lost := errors.New("no answer")
	for i, id := range []string{"a", "b", "b", "c", "d"} {
		subject, payload := "rekey.v1.result.x."+id, fmt.Appendf(nil, `{"id":%q}`, id)
		err := c.Tie(t.Context(), id, subject, payload, func(link audit.Link) (bool, error) {
			text, err := link.Encode()
			if err != nil {
				t.Fatal(err)
			}
			switch i {
			case 2:
				return false, nil
			case 3:
				err = lost
			}
			list = append(list, audit.Result{Seq: uint64(len(list) + 1), Subject: subject, Payload: payload, Link: text})
			return true, err
		})
		if err != nil && !errors.Is(err, lost) {
			t.Fatal(err)
		}
	}
	return list, c.Head(), c.Name()
}

// startedAt is the clock of a worker that has started at a moment.
func startedAt(at time.Time) func() time.Time {
	began := false
	return func() time.Time {
		if began {
			return time.Now()
		}
		began = true
		return at
	}
}

func TestVerify(t *testing.T) {
	relink := func(r *audit.Result, change func(map[string]any)) {
		var link map[string]any
		if err := json.Unmarshal([]byte(r.Link), &link); err != nil {
			t.Fatal(err)
		}
		change(link)
		text, err := json.Marshal(link)
		if err != nil {
			t.Fatal(err)
		}
		r.Link = string(text)
	}
	tests := []struct {
		name   string
		change func([]audit.Result) []audit.Result
		later  time.Duration // How long after it the stream is looked at.
		want   []string      // Codes and places of the problems.
	}{
		{name: "nothing is wrong"},
		{name: "payload changed", change: func(l []audit.Result) []audit.Result {
			l[1].Payload = []byte(`{"id":"B"}`)
			return l
		}, want: []string{"changed 2"}},
		{name: "subject changed", change: func(l []audit.Result) []audit.Result {
			l[1].Subject += "x"
			return l
		}, want: []string{"changed 2"}},
		{name: "number changed", change: func(l []audit.Result) []audit.Result {
			relink(&l[3], func(m map[string]any) { m["n"] = 9 })
			return l
		}, want: []string{"cut 5", "changed 9"}},
		{name: "link taken away", change: func(l []audit.Result) []audit.Result {
			l[1].Link = ""
			return l
		}, want: []string{"untied 0", "missing 4", "missing 5"}},
		{name: "one of no worker's", change: func(l []audit.Result) []audit.Result {
			return append(l, audit.Result{Seq: 9, At: time.Now(), Subject: "rekey.v1.result.x.d", Payload: []byte("{}")})
		}, want: []string{"untied 0"}},
		{name: "one of no worker's before the first result", change: func(l []audit.Result) []audit.Result {
			return append([]audit.Result{{At: time.Unix(2, 0), Subject: "rekey.v1.result.x.d"}}, l...)
		}, want: []string{"untied 0"}},
		{name: "from before there were chains", change: func(l []audit.Result) []audit.Result {
			return append([]audit.Result{{At: time.Unix(0, 5), Subject: "rekey.v1.result.x.d"}}, l...)
		}},
		{name: "on a subject that is no result's", change: func(l []audit.Result) []audit.Result {
			return append(l, audit.Result{Seq: 9, At: time.Now(), Subject: "rekey.v1.result.x", Foreign: true})
		}, want: []string{"foreign 0", "untied 0"}},
		{name: "link unreadable", change: func(l []audit.Result) []audit.Result {
			l[0].Link = "x"
			return l
		}, want: []string{"unreadable 0", "missing 2"}},
		{name: "one taken out", change: func(l []audit.Result) []audit.Result { return append(l[:1:1], l[2:]...) }, want: []string{"missing 4", "missing 5"}},
		{name: "first taken out", change: func(l []audit.Result) []audit.Result { return l[1:] }, want: []string{"missing 2"}},
		{name: "first expired", change: func(l []audit.Result) []audit.Result { return l[1:] }, later: 2 * time.Hour},
		{name: "last taken out", change: func(l []audit.Result) []audit.Result { return l[:3] }, want: []string{"cut 5"}},
		{name: "all taken out", change: func([]audit.Result) []audit.Result { return nil }, want: []string{"cut 5"}},
		{name: "all expired", change: func([]audit.Result) []audit.Result { return nil }, later: 2 * time.Hour},
		{name: "one twice", change: func(l []audit.Result) []audit.Result { return append(l, l[0]) }, want: []string{"doubled 1"}},
		{name: "another history", change: func(l []audit.Result) []audit.Result {
			other, payload := audit.NewChain("w1", startedAt(time.Unix(1, 0))), []byte(`{"id":"A"}`)
			err := other.Tie(t.Context(), "a", l[0].Subject, payload, func(link audit.Link) (_ bool, err error) {
				l[0].Payload = payload
				l[0].Link, err = link.Encode()
				return true, err
			})
			if err != nil {
				t.Fatal(err)
			}
			return l
		}, want: []string{"broken 2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, head, chain := stream(t)
			if tt.change != nil {
				list = tt.change(list)
			}
			v := audit.NewVerifier()
			for _, r := range list {
				v.Add(r)
			}
			report := v.Finish(audit.Ends{Heads: map[string]audit.Head{chain: head}}, time.Now().Add(tt.later), time.Hour)
			var got []string
			for _, p := range report.Problems {
				got = append(got, fmt.Sprint(p.Code, " ", p.N))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s\n%+v", diff, report.Problems)
			}
		})
	}
}

// A bucket of heads that is gone must not look like chains that are whole.
func TestVerifyWithoutHeads(t *testing.T) {
	list, _, _ := stream(t)
	for want, results := range map[int][]audit.Result{1: list, 0: nil} {
		v := audit.NewVerifier()
		for _, r := range results {
			v.Add(r)
		}
		report := v.Finish(audit.Ends{}, time.Now(), time.Hour)
		if len(report.Problems) != want || want > 0 && report.Problems[0].Code != "cut" {
			t.Errorf("of %d results: %+v, want %d problems", len(results), report.Problems, want)
		}
	}
}

// A bucket that was made anew knows nothing of the chains from before.
func TestVerifyWithNewHeads(t *testing.T) {
	list, head, chain := stream(t)
	for after, want := range map[time.Duration]int{-time.Second: 0, time.Second: 1} {
		v := audit.NewVerifier()
		for _, r := range list {
			r.At = time.Unix(2, 0)
			v.Add(r)
		}
		report := v.Finish(audit.Ends{Heads: map[string]audit.Head{chain: head}, Since: time.Unix(2, 0).Add(after)}, time.Now(), time.Hour)
		if len(report.Problems) != want || want > 0 && report.Problems[0].Code != "cut" {
			t.Errorf("made %s after the first result: %+v", after, report.Problems)
		}
	}
}
