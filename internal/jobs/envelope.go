package jobs

import "time"

// Envelope is what an event says about itself and what it carries, whatever its form: a
// CloudEvent in either mode, or plain JSON.
type Envelope struct {
	// Type is the CloudEvents type; empty for plain JSON.
	Type string
	// Topic is the CloudEvents subject; empty where there is none, and for plain JSON. The subject on
	// which the event came is EventRef.Subject.
	Topic string
	// Time is when it happened: the CloudEvents time, else when NATS accepted it. No value of it
	// stands for none.
	Time time.Time
	// Extensions are the other CloudEvents attributes, as texts. Empty for plain JSON.
	Extensions map[string]string
	// Headers are the message's NATS headers under names in lower case, the values of each joined by
	// ", ", but those of CloudEvents, of NATS itself and of Rekey, which are not the sender's or are elsewhere.
	Headers map[string]string
	// Data is the payload: the CloudEvent's data, or the whole document: any JSON, whose numbers are
	// json.Number, or a text where the data is of another type. It is nil for a CloudEvent without
	// data, or with bytes that are no text. It may hold secrets and is never shown.
	Data any
}
