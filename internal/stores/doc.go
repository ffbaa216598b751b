// Package stores has a type for each bucket in which the workers of a fleet share what they know: schedules, receivers, the
// rules of intake, the jobs of the hour, the heads of the chains of results.
package stores
