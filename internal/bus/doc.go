// Package bus is Rekey's side of NATS: the embedded or external server, the streams, the
// translation between messages and events, jobs and results, and the one place that
// settles a message.
package bus
