package fleet

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"rekey/internal/bus"
	"rekey/internal/pace"
)

// Bucket is what the fleet knows of one rate bucket of the API.
type Bucket struct {
	Bucket string `json:"bucket"` // Endpoint set and whose it is.
	// Source is where the limit is known from: config, rate_limits, answer or default; empty when
	// it is not known.
	Source   pace.Source `json:"source"`
	Capacity int         `json:"capacity"` // Most calls that it holds; 0 when nothing is known, as the next two.
	Refill   int         `json:"refill"`   // Calls that each period brings.
	EveryMS  float64     `json:"every_ms"` // Length of the period.
	Tokens   int         `json:"tokens"`   // Calls that can be made at once.
	// PausedUntil is the moment before which the API wants no call; zero when it said nothing.
	PausedUntil time.Time `json:"paused_until,omitzero"`
	Refusals    int       `json:"refusals"` // Rate limits in a row.
	// Planned is about how many jobs have a planned turn. One that the API has refused waits for its own retry, and is not among them.
	Planned int `json:"planned"`
	// LastTurnAt is about when the last of them has its turn, at this rate.
	LastTurnAt time.Time `json:"last_turn_at,omitzero"`
}

// Buckets returns the rate buckets that the fleet has used within the last day: first those
// whose jobs wait the longest, then those that are closed.
func (c *Client) Buckets(ctx context.Context) ([]Bucket, error) {
	states, err := bus.Store[pace.State](c.conn, c.conn.Names().Pace()).All(ctx)
	if err != nil {
		return nil, err
	}
	now := c.conn.Clock().Now()
	list := make([]Bucket, 0, len(states))
	for _, key := range slices.Sorted(maps.Keys(states)) {
		list = append(list, newBucket(key, states[key], now))
	}
	slices.SortStableFunc(list, func(a, b Bucket) int {
		return cmp.Or(
			b.LastTurnAt.Compare(a.LastTurnAt), b.PausedUntil.Compare(a.PausedUntil), strings.Compare(a.Bucket, b.Bucket),
		)
	})
	return list, nil
}

func newBucket(key string, s pace.State, now time.Time) Bucket {
	b := Bucket{
		Bucket: key, Source: s.Source, Capacity: s.Limit.Capacity, Refill: s.Limit.Refill,
		EveryMS: float64(s.Limit.Every.Microseconds()) / 1000, Tokens: s.Tokens(now), Refusals: s.Refusals,
	}
	b.PausedUntil = s.Paused(now)
	b.Planned, b.LastTurnAt = s.Waiting(now)
	return b
}
