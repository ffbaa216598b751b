// Package pacing proves, with running workers, that the API is never hammered, and that its rate limits are used to the full.
package pacing
