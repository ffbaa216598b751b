package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"

	"rekey/internal/atlas"
	"rekey/internal/bus"
	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/sealing"
	"rekey/internal/wire"
)

// ErrTooLarge says that NATS takes no event of that size.
var ErrTooLarge = bus.ErrTooLarge

// ErrCannotSeal says that an event has a secret, and that no key to seal it with is known here.
var ErrCannotSeal = errors.New("a secret in it cannot be sealed")

// structured is the header of what Emit publishes.
func structured() map[string]string { return map[string]string{"Content-Type": event.CloudEventsJSON} }

// Emit stores a CloudEvent in structured mode, by its members, as an event of a class. sender is the client of the HTTP API that was
// authenticated. Secrets in its data and extensions are sealed first,
// unless the configuration allows them in the clear: what looks like one, and what the policies take for one. The error is
// of *jobs.Malformed and *jobs.Rejection, joined, where no worker could read the event.
func (c *Client) Emit(ctx context.Context, sender, class string, members map[string]any) error {
	data, err := c.sealed(ctx, class, members)
	if err != nil {
		return err
	}
	m := event.Message{Subject: c.conn.Names().Event(class), Header: nats.Header{"Content-Type": {event.CloudEventsJSON}}, Data: data, Seq: 1, At: c.Now()}
	if _, err := event.ReadReceived(c.conn.Names(), m); err != nil {
		return err
	}
	err = c.conn.PublishEvent(ctx, sender, class, data, structured())
	if errors.Is(err, bus.ErrTooLarge) {
		return err
	}
	return maybeStored(err)
}

// sealed encodes a CloudEvent with its secrets sealed.
func (c *Client) sealed(ctx context.Context, class string, members map[string]any) ([]byte, error) {
	if c.config.Intake.Plaintext == jobs.PlaintextAllow {
		return encode(members)
	}
	doc := sealing.New(wire.Sealer{Keyring: c.keys}, c.known.Set(), nil, jobs.MaxEventBytes)
	data, err := withSealed(doc, members)
	if err != nil {
		return nil, err
	}
	finder, err := c.finder()
	if err != nil {
		return nil, err
	}
	found := finder.Secrets(ctx, class, data, structured())
	if len(found) == 0 {
		return data, nil
	}
	doc.Found(found)
	return withSealed(doc, members)
}

func withSealed(doc *sealing.Document, members map[string]any) ([]byte, error) {
	out := map[string]any{}
	for name, value := range members {
		if !slices.Contains(plainMembers, name) {
			var err error
			value, err = doc.Value(value)
			if errors.Is(err, sealing.ErrTooLarge) {
				return nil, fmt.Errorf("%w: %w", ErrTooLarge, err)
			}
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrCannotSeal, err)
			}
		}
		out[name] = value
	}
	return encode(out)
}

// plainMembers are those of a CloudEvent that name it, in which a credential is refused.
var plainMembers = []string{"specversion", "id", "source", "type", "time", "subject", "datacontenttype", "dataschema", event.HeaderTrace}

func encode(members map[string]any) ([]byte, error) {
	data, err := json.Marshal(members)
	if err != nil {
		return nil, fmt.Errorf("encoding an event: %w", err)
	}
	return data, nil
}

// newFinder returns what knows what the policies of the configuration take for secrets.
func (c *Client) newFinder() (*wire.SecretFinder, error) {
	rules, err := wire.NewRules(c.config, atlas.AccountNames(wire.AtlasAccounts(c.config)), wire.Sealer{Keyring: c.keys}, nil)
	if err != nil {
		return nil, err
	}
	return &wire.SecretFinder{Rules: rules, Names: c.conn.Names(), Now: c.Now}, nil
}
