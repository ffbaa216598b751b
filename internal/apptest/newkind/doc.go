// Package newkind proves that a kind of job is one declaration: its tests declare a kind that does not exist, give the sandbox a
// handler for it, and run it from the event to the result.
package newkind
