package wire

import (
	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/notify"
)

// NotifyTargets are the targets of a configuration.
func NotifyTargets(c *config.Config) []notify.Target {
	list := make([]notify.Target, len(c.Notify))
	for i := range c.Notify {
		list[i] = c.Notify[i].Target()
	}
	return list
}

func TargetNames(targets []notify.Target) []string {
	names := make([]string, len(targets))
	for i := range targets {
		names[i] = targets[i].Name
	}
	return names
}

func InboxOf(t *notify.Target) bus.Inbox {
	return bus.Inbox{
		Target: t.Name, Kinds: t.Filter.Kinds, Outcomes: t.Filter.Outcomes, Timeout: t.Timeout, MaxAge: t.Retry.MaxAge,
	}
}
