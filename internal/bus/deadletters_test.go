package bus

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/names"
)

// Whatever was replayed or dropped between them, the latest letters are found.
func TestDeadLettersListPassesGaps(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	dead, err := OpenDeadLetters(t.Context(), r.conn)
	if err != nil {
		t.Fatal(err)
	}
	const letters = 400
	for range letters {
		if _, err := r.conn.js.PublishAsync(r.names.DeadEvent(), nil); err != nil {
			t.Fatal(err)
		}
	}
	<-r.conn.js.PublishAsyncComplete()
	stays := func(n uint64) bool { return n <= 20 || n > 100 && n <= 130 || n == 250 || n == letters }
	var want []uint64
	for n := uint64(letters); n > 0; n-- {
		if stays(n) {
			want = append(want, n)
		} else if err := dead.Delete(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	for _, limit := range []int{0, 1, 2, 3, 20, 33, 40, len(want), len(want) + 1, 1000, math.MaxInt} {
		list, err := dead.List(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for _, letter := range list {
			got = append(got, letter.Number)
		}
		if diff := cmp.Diff(want[:min(limit, len(want))], got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("the latest %d: %s", limit, diff)
		}
	}
	for names := range dead.stream.ListConsumers(t.Context()).Info() {
		t.Errorf("consumer %s is left behind", names.Name)
	}
}

func TestDeadLettersListAndShow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	dead, err := OpenDeadLetters(t.Context(), r.conn)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := dead.List(t.Context(), 10); err != nil || len(list) != 0 {
		t.Errorf("an empty stream lists %d letters, error %v", len(list), err)
	}
	for i := range 4 {
		m := event.Message{Subject: r.names.Event("x"), Data: []byte("payload"), Seq: uint64(i + 1), At: moment}
		if _, err := r.conn.deadLetterEvent(t.Context(), m, jobs.Event{EventRef: jobs.EventRef{Source: "/s", ID: "1", Seq: m.Seq, At: moment}}, errors.New("bad")); err != nil {
			t.Fatal(err)
		}
	}
	if err := dead.Delete(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	for _, number := range []uint64{3, 99} {
		if err := dead.Delete(t.Context(), number); !errors.Is(err, jobs.ErrNotFound) {
			t.Errorf("deleting letter %d, which is not there: %v", number, err)
		}
	}
	numbers := func(limit int) (got []uint64) {
		list, err := dead.List(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, letter := range list {
			if letter.Payload != "" || letter.Header != nil {
				t.Errorf("letter %d is listed with payload or headers", letter.Number)
			}
			got = append(got, letter.Number)
		}
		return got
	}
	if diff := cmp.Diff([]uint64{4, 2, 1}, numbers(10)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]uint64{4, 2}, numbers(2)); diff != "" {
		t.Error(diff)
	}
	letter, err := dead.Show(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if letter.Payload != "payload" || letter.Reason != "bad" || letter.Code != "malformed" || letter.Event.Seq != 2 || !letter.Event.At.Equal(moment) || letter.At.IsZero() {
		t.Errorf("the letter is %+v", letter)
	}
	for _, number := range []uint64{3, 99} {
		if _, err := dead.Show(t.Context(), number); !errors.Is(err, jobs.ErrNotFound) {
			t.Errorf("letter %d: error %v", number, err)
		}
	}
	if _, err := OpenDeadLetters(t.Context(), dial(t, ConnectConfig{Embedded: r.server, Namespace: "other"})); err == nil {
		t.Error("the dead letters of a namespace without streams were opened")
	}
}

// TestSearchOfDeadLetters finds the latest one that matches, behind a number.
func TestSearchOfDeadLetters(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	letters, err := OpenDeadLetters(t.Context(), r.conn)
	if err != nil {
		t.Fatal(err)
	}
	search := func(after uint64, jobID string) (uint64, uint64) {
		t.Helper()
		found, end, err := letters.Search(t.Context(), after, func(d DeadLetter) bool { return d.JobID == jobID })
		if err != nil && !errors.Is(err, jobs.ErrNotFound) {
			t.Fatal(err)
		}
		return found.Number, end
	}
	if found, end := search(0, "a"); found != 0 || end != 0 {
		t.Errorf("%d of %d letters found, want none", found, end)
	}
	for _, id := range []string{"a", "b", "a", "b", "c"} {
		msg := &nats.Msg{Subject: r.names.DeadEvent(), Header: nats.Header{names.HeaderJobID: {id}}}
		if _, err := r.conn.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	if err := letters.Delete(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		after uint64
		jobID string
		want  uint64
	}{{0, "a", 3}, {2, "a", 3}, {3, "a", 0}, {3, "b", 4}, {4, "b", 0}, {5, "b", 0}, {9, "b", 0}, {0, "c", 0}, {0, "", 0}} {
		if found, end := search(tt.after, tt.jobID); found != tt.want || end != 5 {
			t.Errorf("behind %d there is %s in letter %d of %d, want %d of 5", tt.after, tt.jobID, found, end, tt.want)
		}
	}
}

// TestDeadLetterOfAJobThatHasSucceeded: one of an event or a notification is not about the job, and a job whose target is alive has not
// done what was asked.
func TestDeadLetterOfAJobThatHasSucceeded(t *testing.T) {
	t.Parallel()
	n := names.New("rekey")
	for _, tt := range []struct {
		subject string
		outcome jobs.Outcome
		verdict jobs.Verdict
		want    jobs.Outcome
	}{
		{n.DeadJob("x509.disable"), jobs.OutcomeRevoked, jobs.VerdictPending, jobs.OutcomeRevoked},
		{n.DeadJob("x509.disable"), jobs.OutcomeAlreadyGone, "", jobs.OutcomeAlreadyGone},
		{n.DeadJob("x509.disable"), jobs.OutcomeRefused, "", ""},
		{n.DeadJob("x509.disable"), "", "", ""},
		{n.DeadJob("x509.disable"), jobs.OutcomeRevoked, jobs.VerdictStillAlive, ""},
		{n.DeadEvent(), jobs.OutcomeRevoked, jobs.VerdictVerified, ""},
		{n.DeadNotification(), jobs.OutcomeRevoked, jobs.VerdictVerified, ""},
	} {
		d := DeadLetter{Subject: tt.subject}
		if d.SettleWith(n, tt.outcome, tt.verdict); d.Succeeded != tt.want {
			t.Errorf("%s, %s %s: %q, want %q", tt.subject, tt.outcome, tt.verdict, d.Succeeded, tt.want)
		}
	}
}
