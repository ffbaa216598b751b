package pace

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at(d time.Duration) time.Time { return epoch.Add(d) }

const ms = time.Millisecond

func TestLimit(t *testing.T) {
	tests := []struct {
		limit   Limit
		known   bool
		spacing time.Duration
		keep    int // Of a share of 0.2.
		bad     bool
	}{
		{limit: Limit{}, bad: true},
		{limit: Limit{Capacity: 10}, keep: 2, bad: true},
		{limit: Limit{Capacity: 1, Refill: 1, Every: time.Second}, known: true, spacing: time.Second},
		{limit: Limit{Capacity: 2, Refill: 1, Every: time.Second}, known: true, spacing: time.Second, keep: 1},
		{limit: Limit{Capacity: 10, Refill: 5, Every: time.Minute}, known: true, spacing: 12 * time.Second, keep: 2},
		{limit: Limit{Capacity: 11, Refill: 300, Every: time.Second}, known: true, spacing: 3334 * time.Microsecond, keep: 3},
		{limit: Limit{Capacity: 1, Refill: 1, Every: time.Microsecond}, known: true, spacing: time.Microsecond, bad: true},
		{limit: Limit{Capacity: maxCount + 1, Refill: 1, Every: time.Second}, known: true, spacing: time.Second, keep: 200_001, bad: true},
	}
	for _, tt := range tests {
		if got := tt.limit.Known(); got != tt.known {
			t.Errorf("%v: known is %t", tt.limit, got)
		}
		if got := tt.limit.Spacing(); got != tt.spacing {
			t.Errorf("%v: spacing is %s, want %s", tt.limit, got, tt.spacing)
		}
		if got := tt.limit.Keep(0.2); got != tt.keep {
			t.Errorf("%v: keeps %d, want %d", tt.limit, got, tt.keep)
		}
		if err := tt.limit.Validate(); (err != nil) != tt.bad {
			t.Errorf("%v: %v", tt.limit, err)
		}
	}
	if got := (Limit{Capacity: 20, Refill: 1, Every: time.Second}).Keep(0); got != 0 {
		t.Errorf("a share of 0 keeps %d", got)
	}
}

// TestShareOfABucketThatIsFilledToTheBrim: two of ten are kept, and at the bucket's own pace other
// calls may use all but one of them.
func TestShareOfABucketThatIsFilledToTheBrim(t *testing.T) {
	s := State{Limit: Limit{Capacity: 10, Refill: 10, Every: time.Minute}}
	calls := func(now time.Time, rank Rank) (n int) {
		for s.Take(now, rank, 0.2) {
			n++
		}
		return n
	}
	var got []int
	for _, after := range []time.Duration{0, 5 * time.Second, 6 * time.Second, 12 * time.Second, 18 * time.Second} {
		got = append(got, calls(at(after), 2))
	}
	if want := []int{8, 0, 1, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("bulk calls after 0, 5, 6, 12 and 18 s: %v, want %v", got, want)
	}
	if n := calls(at(18*time.Second), 0); n != 1 {
		t.Errorf("%d urgent calls, want the one that is kept", n)
	}
}

func TestSameLimit(t *testing.T) {
	smooth := Limit{Capacity: 20, Refill: 1, Every: 20 * ms}
	for _, tt := range []struct {
		other Limit
		want  bool
	}{
		{other: smooth, want: true},
		{other: Limit{Capacity: 20, Refill: 50, Every: time.Second}, want: true},
		{other: Limit{Capacity: 21, Refill: 1, Every: 20 * ms}},
		{other: Limit{Capacity: 20, Refill: 10, Every: 200 * ms}}, // It may come all at once.
		{other: Limit{}},
	} {
		if got := smooth.Same(tt.other); got != tt.want || tt.other.Same(smooth) != tt.want {
			t.Errorf("%v and %v: %t", smooth, tt.other, got)
		}
	}
	if !(Limit{}).Same(Limit{}) {
		t.Error("what is not known is not the same as itself")
	}
}

// TestUrgentShare drains a bucket with bulk calls; what is kept is there for urgent ones.
func TestUrgentShare(t *testing.T) {
	s := State{Limit: Limit{Capacity: 20, Refill: 1, Every: 20 * ms}}
	take := func(rank Rank) (n int) {
		for s.Take(epoch, rank, 0.2) {
			n++
		}
		return n
	}
	if bulk, urgent := take(2), take(0); bulk != 16 || urgent != 4 {
		t.Errorf("%d bulk and %d urgent calls, want 16 and 4", bulk, urgent)
	}
	if got := s.Tokens(at(91 * ms)); got != 2 {
		t.Errorf("%d tokens after two refills, want 2", got)
	}
}

// TestPlan sends jobs of all ranks away; the plans are spread, and less urgent ones are behind.
func TestPlan(t *testing.T) {
	limit := Limit{Capacity: 4, Refill: 1, Every: 20 * ms}
	s := State{Limit: limit}
	for s.Take(epoch, 0, 0.25) {
	}
	var got []time.Duration
	plan := func(rank Rank) { got = append(got, s.Plan(epoch, rank, 0.25).Sub(epoch)) }
	plan(2) // One token is kept: the second one that comes is the first for others.
	plan(2)
	plan(0)
	plan(0)
	plan(1)
	plan(2)
	plan(0)
	// Each token comes 10 ms later than it could: a call may be under way that long.
	want := []time.Duration{50 * ms, 70 * ms, 30 * ms, 50 * ms, 70 * ms, 90 * ms, 70 * ms}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plans (-want +got):\n%s", diff)
	}
	if n, last := s.Waiting(epoch); n != 5 || !last.Equal(at(90*ms)) {
		t.Errorf("%d wait until %s", n, last.Sub(epoch))
	}
	if n, last := s.Waiting(at(91 * ms)); n != 0 || !last.IsZero() {
		t.Errorf("afterwards %d wait until %s", n, last)
	}
}

// TestPlannedRetryFindsAToken drains a crowd: each job that finds no token retries as planned, and then there is one.
func TestPlannedRetryFindsAToken(t *testing.T) {
	for _, limit := range limits {
		t.Run(limit.String(), func(t *testing.T) {
			const crowd = 500
			s := State{Limit: limit}
			due := make([]time.Time, crowd)
			sent := 0
			for i := range due {
				if !s.Take(epoch, 2, 0.2) {
					due[i], sent = s.Plan(epoch, 2, 0.2), sent+1
				}
			}
			if want := crowd - limit.Capacity + limit.Keep(0.2); sent != max(want, 0) {
				t.Fatalf("%d of %d jobs were delayed, want %d", sent, crowd, want)
			}
			for i, moment := range due {
				if !moment.IsZero() && !s.Take(moment, 2, 0.2) {
					t.Fatalf("job %d came as planned after %s and found no token", i, moment.Sub(epoch))
				}
			}
		})
	}
}

// TestRefusal: the pause, how the bucket fills after it, and that a row of them waits longer.
func TestRefusal(t *testing.T) {
	limit := Limit{Capacity: 20, Refill: 1, Every: 20 * ms}
	s := State{Limit: limit}
	refuse := func(sent, answered time.Duration, wait time.Duration) time.Duration {
		return s.Refuse(Refusal{
			Sent: at(sent), At: at(answered), Until: at(answered + wait), Patience: 10 * time.Second, Longest: 35 * time.Second,
		}).Sub(epoch)
	}
	steps := []struct {
		name                 string
		sent, answered, wait time.Duration
		want                 time.Duration
	}{
		{name: "the first", answered: time.Second, wait: 2 * time.Second, want: 3 * time.Second},
		{name: "sent with the first", answered: 1100 * ms, wait: 2 * time.Second, want: 3100 * ms},
		{name: "the second in a row", sent: 3100 * ms, answered: 3200 * ms, wait: 2 * time.Second, want: 13200 * ms},
		{name: "the third", sent: 14 * time.Second, answered: 14 * time.Second, wait: 2 * time.Second, want: 34 * time.Second},
		{name: "the fourth, cut", sent: 34 * time.Second, answered: 34 * time.Second, wait: 2 * time.Second, want: 69 * time.Second},
		{name: "one that asks for more than the longest", sent: 69 * time.Second, answered: 69 * time.Second, wait: time.Minute, want: 129 * time.Second},
	}
	for _, step := range steps {
		if got := refuse(step.sent, step.answered, step.wait); got != step.want {
			t.Errorf("%s: paused until %s, want %s", step.name, got, step.want)
		}
		if s.Take(at(step.want-1), 0, 0.2) || s.Tokens(at(step.want-1)) != 0 {
			t.Errorf("%s: a call was allowed during the pause", step.name)
		}
	}
	opened := 129 * time.Second
	if s.Accepted(at(opened - 1)) {
		t.Error("a call that was sent before the pause ended the row")
	}
	if s.Tokens(at(opened)) != 1 || !s.Take(at(opened), 2, 0.2) || s.Take(at(opened+19*ms), 2, 0.2) {
		t.Error("after the pause the tokens do not come one by one")
	}
	if !s.Accepted(at(opened)) || s.Accepted(at(opened)) || s.Refusals != 0 {
		t.Error("a call that got through did not end the row")
	}
	// Of the tokens that come, every fifth is kept until the share is whole again.
	taken := 0
	for i := 1; i < 40; i++ {
		if s.Take(at(opened+time.Duration(i)*20*ms), 2, 0.2) {
			taken++
		}
	}
	if taken != 35 || s.Tokens(at(opened+39*20*ms)) != 4 {
		t.Errorf("%d calls and %d tokens left, want 35 and 4", taken, s.Tokens(at(opened+39*20*ms)))
	}
}

func TestRefusalOfAnUnknownBucket(t *testing.T) {
	var s State
	if !s.Take(epoch, 2, 0.2) {
		t.Error("a bucket that is not known took no call")
	}
	s.Refuse(Refusal{Sent: epoch, At: epoch, Until: at(time.Minute)})
	if s.Take(at(time.Minute-1), 0, 0.2) || !s.Take(at(time.Minute), 2, 0.2) {
		t.Error("the pause is not what it should be")
	}
	if got := s.Plan(epoch, 2, 0.2); !got.Equal(at(time.Minute)) {
		t.Errorf("planned for %s", got)
	}
	if n, last := s.Waiting(epoch); n != 1 || !last.Equal(at(time.Minute)) {
		t.Errorf("%d wait until %s", n, last)
	}
}

func TestOwe(t *testing.T) {
	s := State{}
	if s.Owe(epoch, 3) {
		t.Error("a bucket that is not known owes")
	}
	s.Learn(Limit{Capacity: 20, Refill: 1, Every: 20 * ms}, SourceAnswer)
	if !s.Owe(epoch, 15) || s.Owe(epoch, 10) || s.Tokens(epoch) != 5 {
		t.Errorf("%d tokens, want 5", s.Tokens(epoch))
	}
	if s.Owe(epoch, 100); s.Tokens(epoch) != 0 {
		t.Errorf("%d tokens, want 0", s.Tokens(epoch))
	}
}

// TestStored: a state survives its storage, and a copy is one.
func TestStored(t *testing.T) {
	s := State{Limit: Limit{Capacity: 9, Refill: 3, Every: time.Second}, Source: SourceAnswer}
	for range 9 {
		s.Take(epoch, 0, 0)
	}
	s.Plan(epoch, 1, 0.2)
	s.Refuse(Refusal{Sent: epoch, At: epoch, Until: at(time.Second)})
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var again State
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, again); diff != "" {
		t.Errorf("stored and read (-want +got):\n%s", diff)
	}
	other := s.Clone()
	other.Take(at(time.Hour), 0, 0)
	if diff := cmp.Diff(again, s); diff != "" {
		t.Errorf("a change of the copy changed the original:\n%s", diff)
	}
}

// TestChecksComeLast: a check leaves half of the bucket, takes no token while a job waits for one, and is not the first call
// after a pause.
func TestChecksComeLast(t *testing.T) {
	s := State{Limit: Limit{Capacity: 10, Refill: 10, Every: time.Minute}}
	calls := func(rank Rank) (n int) {
		for s.Take(epoch, rank, 0.2) {
			n++
		}
		return n
	}
	if checks, jobs := calls(RankCheck), calls(2); checks != 5 || jobs != 3 {
		t.Errorf("%d checks and %d bulk calls of 10, want 5 and 3", checks, jobs)
	}
	s = State{Limit: Limit{Capacity: 10, Refill: 10, Every: time.Minute}, Planned: [Ranks]int64{2: micros(at(ms))}}
	if s.Take(epoch, RankCheck, 0.2) {
		t.Error("a check took a token while a bulk job waited")
	}
	if !s.Take(at(2*ms), RankCheck, 0.2) {
		t.Error("a check has no token although no job waits any more")
	}
	s.Close(at(time.Minute))
	if got := s.Plan(epoch, RankCheck, 0.2); !got.After(at(time.Minute)) {
		t.Errorf("a check is planned %s after the pause, want later than its end", got.Sub(at(time.Minute)))
	}
	if n, _ := s.Waiting(at(2 * ms)); n != 0 {
		t.Errorf("%d jobs wait, although only a check does", n)
	}
	if got := s.Plan(epoch, 2, 0.2); !got.Equal(at(time.Minute)) {
		t.Errorf("a job is planned at %s, want at the end of the pause", got.Sub(epoch))
	}
}
