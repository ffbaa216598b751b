package wire

import (
	"rekey/internal/config"
	"rekey/internal/layout"
	"rekey/internal/notify"
)

// Receivers are those of a configuration.
func Receivers(c *config.Config) []notify.Receiver {
	list := make([]notify.Receiver, len(c.Receivers))
	for i := range c.Receivers {
		list[i] = c.Receivers[i].Receiver()
		list[i].Console = c.API.PublicURL
	}
	return list
}

// ReceiverNames are the names of receivers.
func ReceiverNames(receivers []notify.Receiver) []string {
	names := make([]string, len(receivers))
	for i := range receivers {
		names[i] = receivers[i].Name
	}
	return names
}

// SubscriptionOf is the place of a receiver in NATS.
func SubscriptionOf(t *notify.Receiver) layout.Subscription {
	outcomes, verdicts := t.Subscribed()
	return layout.Subscription{
		Receiver: t.Name, Kinds: t.Filter.Kinds, Outcomes: outcomes, Verdicts: verdicts, Timeout: t.Timeout, MaxAge: t.Retry.MaxAge,
	}
}
