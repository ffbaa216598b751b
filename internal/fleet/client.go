// Package fleet is what commands, pages and the API ask of a running fleet.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/ledger"
	"rekey/internal/redact"
	"rekey/internal/seal"
	"rekey/internal/search"
	"rekey/internal/wire"
)

// Client is what the commands use to talk to a running fleet.
type Client struct {
	conn   *bus.Conn
	ledger *ledger.Ledger
	config *config.Config
	keys   *seal.Keyring // Nil when the fleet's keys are not known here.
	known  *redact.Known // The worker's own secrets. Nil: none is known here.
	own    bool          // The connection is a worker's own, where no refusal of the server is waited for.

	finder func() (*wire.SecretFinder, error) // Knows what policies take for secrets. Of a worker's own client only.

	// OnReading, when set, is called when no worker answers a search, with why: then the streams themselves are read, which takes
	// longer.
	OnReading func(why error)

	refusals   refusals
	attempting sync.Mutex // Held while attempt asks.
	closing    []func()   // Ends what Guard has begun.
	reading    sync.Mutex // Guards reader.
	reader     *search.Reader
}

// Own is a Client on a worker's own connection, which Close closes as well. It hides the worker's own secrets.
func Own(conn *bus.Conn, l *ledger.Ledger, c *config.Config, keys *seal.Keyring, known *redact.Known) *Client {
	client := &Client{conn: conn, ledger: l, config: c, keys: keys, known: known, own: true}
	client.finder = sync.OnceValues(client.newFinder)
	return client
}

// timeTimeout bounds how long a command waits for the server's time.
const timeTimeout = time.Second

// Dial connects to the NATS server of the configuration (for an embedded one: where it
// listens), or to server when that is not empty.
func Dial(ctx context.Context, c *config.Config, server string, env wire.Lookup) (*Client, error) {
	nats, err := Reachable(c.NATS, server)
	if err != nil {
		return nil, err
	}
	cfg, err := wire.ConnectConfig(nats, env)
	if err != nil {
		return nil, err
	}
	if cfg.Sign, _, err = wire.Signatures(c.Intake, env); err != nil {
		return nil, err
	}
	client := &Client{config: c, keys: wire.KnownKeys(c, server, env)}
	cfg.Name, cfg.Logger, cfg.OnForbidden = "rekey command line", zap.NewNop(), client.refusals.hear
	if client.conn, err = bus.Connect(cfg); err != nil {
		return nil, unconnected(ctx, cfg.URL, err)
	}
	ctx, stop := client.refusals.guard(ctx, 0)
	defer stop()
	client.ledger = ledger.New(client.conn.JetStream(), ledger.Config{Namespace: c.NATS.Namespace, Replicas: c.NATS.Replicas})
	err = client.ledger.Look(ctx)
	if forbidden := Forbidden(ctx); forbidden != nil {
		err = forbidden
	}
	if err != nil {
		client.Close()
		return nil, client.conn.Explain(err)
	}
	// A user that may not ask for the time goes by the clock of this machine.
	_ = client.attempt(ctx, timeTimeout, func(ctx context.Context) error { return client.conn.AskTime(ctx) })
	return client, nil
}

// UnreachableError says that no NATS server answers.
type UnreachableError struct{ err error }

// Error says at which address, and what is there instead.
func (e *UnreachableError) Error() string { return e.err.Error() }

// Unwrap is what the client says.
func (e *UnreachableError) Unwrap() error { return e.err }

// unconnected says why no server answers, where the client does not: it went to all addresses, or one said nothing.
func unconnected(ctx context.Context, addresses string, err error) error {
	silent, ok := errors.AsType[*net.OpError](err)
	if ok = ok && silent.Op == "read" && silent.Timeout(); ok || errors.Is(err, natsgo.ErrNoServers) {
		return &UnreachableError{fmt.Errorf("%w%s", err, Unreachable(ctx, addresses))}
	}
	return err
}

// Close closes the connection.
func (c *Client) Close() {
	for _, end := range c.closing {
		end()
	}
	if c.reader != nil {
		_ = c.reader.Close() // A temporary file that stays is no failure of what was asked for.
	}
	c.conn.Close()
}
