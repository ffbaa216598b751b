package wire

import (
	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/notify"
)

// Receivers are the receivers of a configuration.
func Receivers(c *config.Config) []notify.Receiver {
	list := make([]notify.Receiver, len(c.Receivers))
	for i := range c.Receivers {
		list[i] = c.Receivers[i].Receiver()
	}
	return list
}

func ReceiverNames(receivers []notify.Receiver) []string {
	names := make([]string, len(receivers))
	for i := range receivers {
		names[i] = receivers[i].Name
	}
	return names
}

func InboxOf(t *notify.Receiver) bus.Inbox {
	return bus.Inbox{
		Receiver: t.Name, Kinds: t.Filter.Kinds, Outcomes: t.Filter.Outcomes, Timeout: t.Timeout, MaxAge: t.Retry.MaxAge,
	}
}
