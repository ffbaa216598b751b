//go:build race

package testmain

// atOnce is how many tests run at a time. With the race detector they are busy.
const atOnce = "4"
