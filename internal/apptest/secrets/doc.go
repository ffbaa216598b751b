// Package secrets proves, with running workers, that no secret leaks, and how sealed, signed and referenced ones are handled.
package secrets
