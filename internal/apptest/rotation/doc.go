// Package rotation tests that a rotation ends with one secret that every store has, and never with none, whatever is killed.
package rotation
