// Package secrets proves, with running workers, that no secret leaks, how sealed, signed and referenced ones are handled, and that a rotation ends
// with one secret that every store has, and never with none, whatever is killed.
package secrets
