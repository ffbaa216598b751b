// Package audit ties the results of each worker into a chain of hashes, finds what was
// changed or taken out of it, and writes results as auditors read them.
package audit
