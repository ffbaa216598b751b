//go:build race

package testmain

// waitingAtOnce is how many tests that wait run at a time. With the race detector they are busy.
const waitingAtOnce = "4"
