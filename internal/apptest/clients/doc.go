// Package clients proves, with running workers, what operators, readers, producers and clients of the HTTP API may ask of a fleet, what they
// cannot, how a command waits, what the pages of the console show and do, and what the doctor finds.
package clients
