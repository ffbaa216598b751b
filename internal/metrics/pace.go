package metrics

import (
	"strconv"
	"time"
)

// CallDelayed counts a delay of a job whose rate bucket had no token for it.
func (m *Metrics) CallDelayed(bucket, lane string) {
	if m == nil {
		return
	}
	m.AtlasCallsDelayed.WithLabelValues(m.labels.buckets.bound(bucket), m.labels.lanes.bound(lane)).Inc()
}

// RateLimited counts a call that was refused because of a rate limit, which was known before
// or not.
func (m *Metrics) RateLimited(bucket string, foreseeable bool) {
	if m == nil {
		return
	}
	m.AtlasRateLimited.WithLabelValues(m.labels.buckets.bound(bucket), strconv.FormatBool(foreseeable)).Inc()
}

// Paused counts how long a rate bucket is closed.
func (m *Metrics) Paused(bucket string, d time.Duration) {
	if m == nil {
		return
	}
	m.AtlasPaused.WithLabelValues(m.labels.buckets.bound(bucket)).Add(elapsed(d))
}

// PaceShared records whether the rate buckets are shared with the other workers.
func (m *Metrics) PaceShared(shared bool) {
	if m == nil {
		return
	}
	value := 0.0
	if shared {
		value = 1
	}
	m.AtlasPaceShared.Set(value)
}
