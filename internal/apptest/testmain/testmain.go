// Package testmain runs the tests of a package that mostly wait: their files are in memory, and several tests run at a time.
package testmain

import (
	"os"
	"runtime/debug"
	"slices"
	"testing"
)

// Tests are the tests of a package.
type Tests struct{ m *testing.M }

// Of are the tests that TestMain gets.
func Of(m *testing.M) Tests { return Tests{m} }

// Run runs the tests. NATS syncs each write, for which a busy disk takes hundreds of milliseconds. No test can tell a disk from memory:
// a process that is killed loses nothing that it has written, in either. A TMPDIR that is set counts, and
// so does a -parallel of the command line. The collector of garbage runs less often than it would in a process with as little memory.
func (t Tests) Run() int {
	debug.SetGCPercent(400)
	// What the command line says comes later and counts.
	os.Args = slices.Insert(os.Args, 1, "-test.parallel="+atOnce) //nolint:reassign // There is no other way to set a default.
	if _, given := os.LookupEnv("TMPDIR"); !given {               //nolint:forbidigo // A test is its own command.
		if dir, remove := inMemory(); dir != "" {
			defer remove()
			if err := os.Setenv("TMPDIR", dir); err != nil { //nolint:forbidigo // The same.
				panic(err)
			}
		}
	}
	return t.m.Run()
}
