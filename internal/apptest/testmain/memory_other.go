//go:build !linux

package testmain

// inMemory knows no folder in memory.
func inMemory() (dir string, remove func()) { return "", nil }
