// Package durability proves, with running workers, that nothing accepted is lost and nothing is done twice, whatever is killed in between, how a
// worker reaches NATS and what it does while NATS is away.
package durability
