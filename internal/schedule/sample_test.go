//go:build !full

package schedule

// full says that every zone is tested with every change of the clock and every expression. Here a sample is.
const full = false
