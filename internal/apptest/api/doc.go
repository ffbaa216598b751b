// Package api proves, with running workers, what clients of the HTTP API can do, and what they cannot.
package api
