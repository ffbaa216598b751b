// Package notify proves, with running workers, how receivers are notified of results.
package notify
