// Package bench measures a worker against the floor: a bare consumer that makes the same
// HTTP call and acknowledges with confirmation, on the same machine, with the same
// durability, in the same run. It is what `worker bench` runs.
package bench
