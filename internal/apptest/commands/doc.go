// Package commands proves, with running workers, what operators, readers and producers may ask of a fleet, and how a command waits.
package commands
