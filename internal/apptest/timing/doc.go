// Package timing proves, with running workers, when jobs run: once for each tick in the whole fleet, again when a retry is due, and as fast as
// the API's rate limits allow and no faster. It also proves what a reload changes.
package timing
