// Package connection proves, with running workers, how a worker reaches NATS, and what it does while NATS is away.
package connection
