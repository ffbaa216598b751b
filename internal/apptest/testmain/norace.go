//go:build !race

package testmain

// atOnce is how many tests run at a time. They wait for leases, elections, the ends of proofs: 16 of them keep one core busy.
const atOnce = "16"
