// Package stores has rotations deliver to the real thing: a Vault in the process of the test. It is a module of its own, since Vault is
// a thousand packages: `make stores`.
package stores
