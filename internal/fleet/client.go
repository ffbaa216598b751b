package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/ledger"
	"rekey/internal/seal"
	"rekey/internal/wire"
)

// Client is what the commands use to talk to a running fleet.
type Client struct {
	conn   *bus.Conn
	ledger *ledger.Ledger
	config *config.Config
	keys   *seal.Keyring // Nil when the fleet's keys are not known here.

	refusals   refusals
	attempting sync.Mutex // Held while attempt asks.
	closing    []func()   // Ends what Guard has begun.
}

// Own is a Client on a worker's own connection, which Close closes as well.
func Own(conn *bus.Conn, l *ledger.Ledger, c *config.Config, keys *seal.Keyring) *Client {
	return &Client{conn: conn, ledger: l, config: c, keys: keys}
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
	c.conn.Close()
}

// Submitted is what became of a request for a job.
type Submitted struct {
	JobID string // The job that it makes, or that a request of the same identity has made before.
	// Duplicate says that there is one already. It does what this request asks for.
	Duplicate bool
	// Meant says that a request of the same identity was a dry run, which is not the job of this one.
	Meant bool
}

// ErrOtherRequest says that the identity of a request is that of a job that does something else.
var ErrOtherRequest = errors.New("a request with this id was made before and asks for something else; give this one another id")

// sameRequest reports, as ErrOtherRequest, that a job does something else than a request asks for.
func sameRequest(r jobs.PublicRecord, req jobs.Request, p jobs.Params) error {
	if r.Kind != req.Kind || p.Known() && r.Target != jobs.Target(req.Kind, p) || req.Account != "" && r.Account != req.Account {
		return fmt.Errorf("job %s: %w", r.JobID, ErrOtherRequest)
	}
	return nil
}

// Submit publishes a request for a job. source and id are the event's identity. A secret in the
// clear is sealed first where the configuration says with which key.
func (c *Client) Submit(ctx context.Context, source, id string, request map[string]any) (Submitted, error) {
	doc := jobs.Document{Fields: request}
	req, err := jobs.ParseRequest(doc)
	if err != nil {
		return Submitted{}, err
	}
	params, err := c.secure(req.Kind, req.Params)
	if err != nil {
		return Submitted{}, err
	}
	request = maps.Clone(request)
	request["params"] = params.Carried()
	done := Submitted{JobID: req.JobID(source, id)}
	earlier, err := c.ledger.Find(ctx, done.JobID)
	if done.Meant = err == nil && earlier.DryRun && !req.DryRun && !c.dryFleet(ctx); done.Meant {
		earlier, err = jobs.PublicRecord{}, jobs.ErrNotFound
	}
	if done.Duplicate = err == nil; done.Duplicate {
		err = sameRequest(earlier, req, params)
	}
	if id := earlier.Extension(req.ExpiresAt); err == nil && id != "" {
		done.JobID = id
		_, err = c.ledger.Find(ctx, id)
		done.Duplicate = err == nil
	}
	if err != nil && !errors.Is(err, jobs.ErrNotFound) {
		return Submitted{}, err
	}
	_, err = c.conn.PublishRequest(ctx, jobs.ClassOperator, source, id, request)
	return done, err
}

// dryFleet reports whether the workers are known to make a dry run of every job.
func (c *Client) dryFleet(ctx context.Context) bool {
	dry := false
	// Without the rules the request is taken as it is.
	_ = c.attempt(ctx, rulesTimeout, func(ctx context.Context) error {
		rules, err := c.rules(ctx)
		dry = rules.DryRun
		return err
	})
	return dry
}

// secure opens and seals parameters as far as there are keys here. Without keys, the
// worker does it.
func (c *Client) secure(kind jobs.Kind, p jobs.Params) (jobs.Params, error) {
	if c.keys == nil {
		return p, nil
	}
	opened, err := p.Open(wire.Sealer{Keyring: c.keys})
	if err != nil {
		return p, nil //nolint:nilerr // The worker may have the key, and says so if not.
	}
	if err := opened.CheckSealed(kind); err != nil {
		return p, err
	}
	if c.config.Intake.Plaintext == jobs.PlaintextAllow {
		return opened, nil
	}
	return opened.Seal(wire.Sealer{Keyring: c.keys})
}
