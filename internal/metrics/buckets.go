package metrics

// The bounds of the buckets are in seconds. They are functions, not variables, because a slice
// that is a global can be changed everywhere.

// jobDurationBuckets reaches from 10 ms, less than one round trip to Atlas, to 24 h, after which a
// job is given up by default. It is dense up to 30 s, where a job that works at once ends; then
// come 1 min, one window of the rate limit, 5 min, the longest backoff by default, and a few steps
// for jobs that Atlas holds up for hours.
func jobDurationBuckets() []float64 {
	return []float64{
		0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600,
	}
}

// firstAttemptBuckets reaches from 1 ms, what an idle worker needs, to 1 h, where an urgent job
// is urgent no longer. Values above 1 s are queueing or a paused rate bucket.
func firstAttemptBuckets() []float64 {
	return []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}
}

// requestBuckets reaches from 5 ms, what a stand-in on the same machine needs, to 60 s; the default
// timeout of 30 s is a bound, so that values above it belong to a longer timeout.
func requestBuckets() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
}

// retryAfterBuckets begins at 0, which is "at once" and also what a date in the past means, is
// dense around 1 min, the window of the known limits, and ends at 24 h.
func retryAfterBuckets() []float64 {
	return []float64{0, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 6 * 3600, 24 * 3600}
}
