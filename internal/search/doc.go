// Package search finds jobs and dead letters by any field and by their words, in a SQLite file that it makes of the streams.
//
// The file is a cache, never the truth: it follows the streams, is read by nothing that runs a job, and is made anew where it
// is damaged, of another version or of other streams.
package search
