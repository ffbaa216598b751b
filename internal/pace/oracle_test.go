package pace

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// vendor is a bucket as an API may have it: it fills Refill at a time at phase + k*Every, or when
// smooth is set, little by little.
type vendor struct {
	limit  Limit
	smooth bool
	tokens float64
	filled time.Time // Up to when it was filled: for steps, the latest one.
}

func newVendor(l Limit, smooth bool, phase time.Time) *vendor {
	return &vendor{limit: l, smooth: smooth, tokens: float64(l.Capacity), filled: phase}
}

// take is a call that comes in.
func (v *vendor) take(now time.Time) bool {
	if v.smooth {
		v.tokens += float64(v.limit.Refill) * float64(now.Sub(v.filled)) / float64(v.limit.Every)
		v.filled = now
	} else if steps := now.Sub(v.filled) / v.limit.Every; steps > 0 {
		v.tokens += float64(int(steps) * v.limit.Refill)
		v.filled = v.filled.Add(steps * v.limit.Every)
	}
	v.tokens = min(v.tokens, float64(v.limit.Capacity))
	if v.tokens < 1-1e-9 {
		return false
	}
	v.tokens--
	return true
}

var limits = []Limit{
	{Capacity: 20, Refill: 1, Every: 20 * time.Millisecond},
	{Capacity: 20, Refill: 50, Every: time.Second},
	{Capacity: 10, Refill: 10, Every: time.Minute},
	{Capacity: 10, Refill: 5, Every: time.Minute},
	{Capacity: 1, Refill: 1, Every: time.Second},
	{Capacity: 7, Refill: 3, Every: 700 * time.Millisecond},
	{Capacity: 300, Refill: 100, Every: time.Minute},
	{Capacity: 1200, Refill: 500, Every: time.Minute},
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestNoCallIsRefused lets calls come at random, now thick, now thin, and makes each for which
// there is a token. Whatever the bucket's phase and way of filling, it never refuses one.
func TestNoCallIsRefused(t *testing.T) {
	for _, limit := range limits {
		for seed := range uint64(16) {
			t.Run(fmt.Sprintf("%s/%d", limit, seed), func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 1))
				phase := epoch.Add(-time.Duration(random.Int64N(int64(limit.Every))))
				api := newVendor(limit, seed%2 == 1 || limit.Refill > limit.Capacity, phase)
				s := State{Limit: limit}
				now, made := epoch, 0
				var coming []time.Time // The calls are under way for a while.
				for range 2000 {
					thick := limit.Spacing() / time.Duration(1+random.IntN(20))
					if random.IntN(50) == 0 {
						thick = limit.Every * time.Duration(1+random.IntN(3))
					}
					now = now.Add(time.Duration(random.Int64N(int64(2 * thick))))
					if !s.Take(now, Rank(random.IntN(Ranks)), 0.2) {
						continue
					}
					made++
					late := time.Duration(random.Int64N(limit.underway()+1)) * time.Microsecond
					coming = append(coming, now.Add(late))
				}
				slices.SortFunc(coming, time.Time.Compare)
				for i, at := range coming {
					if !api.take(at) {
						t.Fatalf("call %d at %s was refused", i, at.Sub(epoch))
					}
				}
				if made == 0 {
					t.Error("no call was made")
				}
			})
		}
	}
}

// TestTheRateIsUsedToTheFull takes whatever there is, as soon as it is there.
func TestTheRateIsUsedToTheFull(t *testing.T) {
	for _, limit := range limits {
		t.Run(limit.String(), func(t *testing.T) {
			s := State{Limit: limit}
			now, made := epoch, 0
			const periods = 30
			for end := epoch.Add(limit.Every * periods); now.Before(end); {
				if s.Take(now, 0, 0) {
					made++
					continue
				}
				at := micros(now)
				s.Debts = s.Debts.settle(at)
				next := moment(s.next(at, 0, 0))
				if !next.After(now) {
					t.Fatalf("at %s there is no token, and the next is said to be there at %s", now.Sub(epoch), next.Sub(epoch))
				}
				now = next
			}
			late := float64(limit.underway()) / float64(limit.Every.Microseconds()) // Of the first periods.
			least := float64(limit.Capacity) + 0.97*float64(limit.Refill)*(periods-1-late)
			if float64(made) < least {
				t.Errorf("%d calls in %d periods, want at least %.0f", made, periods, least)
			}
			if len(s.Debts) > 4*coarse {
				t.Errorf("the state has %d runs", len(s.Debts))
			}
		})
	}
}

// TestStateStaysSmall makes calls at odd moments for a while.
func TestStateStaysSmall(t *testing.T) {
	limit := Limit{Capacity: 1200, Refill: 500, Every: time.Minute}
	s := State{Limit: limit}
	random := rand.New(rand.NewPCG(7, 7))
	now, most := epoch, 0
	for range 20_000 {
		now = now.Add(time.Duration(random.Int64N(int64(200 * time.Millisecond))))
		s.Take(now, 0, 0)
		most = max(most, len(s.Debts))
	}
	if most > 4*coarse {
		t.Errorf("the state grew to %d runs, want at most %d", most, 4*coarse)
	}
}
