// Package kubernetes has rotations deliver to a Kubernetes API server in the process of the test. It is a module of its own, since that
// server is two thousand packages: `make stores`.
package kubernetes
