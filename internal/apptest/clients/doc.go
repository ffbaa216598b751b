// Package clients proves, with running workers, what operators, readers, producers and clients of the HTTP API may ask of a fleet, what they
// cannot, and how a command waits.
package clients
