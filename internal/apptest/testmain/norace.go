//go:build !race

package testmain

// waitingAtOnce is how many tests that wait run at a time.
const waitingAtOnce = "8"
