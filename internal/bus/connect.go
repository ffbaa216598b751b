// Package bus is Rekey's side of NATS: the connection, the upkeep of the streams, the
// translation between messages and events, jobs and results, and the one place that
// settles a message.
package bus

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/clock"
	"rekey/internal/event"
	"rekey/internal/kv"
	"rekey/internal/layout"
	"rekey/internal/names"
	"rekey/internal/natsserver"
	"rekey/internal/quiet"
)

// Delays between two attempts to connect: they double, with jitter.
const (
	reconnectBase = 250 * time.Millisecond
	reconnectCap  = 15 * time.Second
)

// A connection on which the server answers none of two questions is given up: without an
// end of the connection there is no other sign that it is dead.
const (
	pingEvery = 20 * time.Second
	pingsOut  = 2
)

// noBuffer refuses to send while there is no connection. What was kept for later would reach
// the server long after its sender gave it up and another worker did it.
const noBuffer = -1

// requestTimeout bounds one JetStream request.
const requestTimeout = 5 * time.Second

// ConnectConfig says where NATS is and how to authenticate. At most one way is set; a
// client certificate in TLS may come with any.
type ConnectConfig struct {
	URL             string             // Comma list of nats://, tls://, ws:// or wss://.
	Embedded        *natsserver.Server // Instead of URL.
	Name            string             // Shown by the server, for operators.
	CredentialsFile string             // JWT and nkey seed, as made by nsc.
	NKeySeed        Secret
	User            string
	Password        Secret
	Token           Secret
	TLS             *tls.Config
	Sign            event.SigningKey // Signs what is published on this connection as an event.
	InboxPrefix     string           // Begins the subjects of answers; empty is _INBOX.
	Namespace       string           // Begins the names of streams, buckets and subjects; default "rekey".
	Replicas        int              // Copies of each stream and bucket that is made: 1, 3 or 5; default 1.
	Domain          string           // JetStream domain that has the streams; empty is that of the server.
	Wait            bool             // Go on without a server and connect when it comes up.
	Recorder        ConnRecorder     // Optional.
	Logger          *zap.Logger
	OnForbidden     func(*ForbiddenError) // Hears what the server forbids. Optional.
}

// ConnRecorder shows how the connection is.
type ConnRecorder interface {
	// SetNATSConnected is called when the connection is made or lost.
	SetNATSConnected(connected bool)
	// NATSReconnected counts a lost connection that was made again.
	NATSReconnected()
	// PublishRefused counts a message that a full stream or bucket refused.
	PublishRefused(stream string)
}

// noRecorder is for connections that are not watched.
type noRecorder struct{}

// SetNATSConnected does nothing.
func (noRecorder) SetNATSConnected(bool) {}

// NATSReconnected does nothing.
func (noRecorder) NATSReconnected() {}

// PublishRefused does nothing.
func (noRecorder) PublishRefused(string) {}

// Conn is a connection to NATS that reconnects without a limit.
type Conn struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	names    names.Names
	copies   int // Of each stream and bucket that is made.
	capacity *capacity
	where    string
	failure  *atomic.Pointer[string]    // Why the last attempt to connect failed; empty once one worked.
	lostAt   *atomic.Pointer[time.Time] // Since when there is no connection; nil while there is one.
	sign     event.SigningKey
	marks    event.Marker // Nil: nothing is marked, and no mark is asked for.
	domain   string       // Of JetStream.
	clock    *clock.Clock
	places   places
	trouble  chan struct{} // Holds a token after a consumer gave nothing out, which may be gone.
}

// Connect connects to NATS.
func Connect(cfg ConnectConfig) (*Conn, error) {
	if cfg.Recorder == nil {
		cfg.Recorder = noRecorder{}
	}
	begun, lostAt := time.Now(), &atomic.Pointer[time.Time]{}
	lostAt.Store(&begun)
	failure := &atomic.Pointer[string]{}
	failure.Store(new(string))
	login, auth, err := cfg.login()
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(cfg.URL, append(cfg.options(failure, lostAt), auth...)...)
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS at %s: %w", cfg.where(), withoutURL(err))
	}
	login.conn.Store(nc)
	js, err := openJetStream(nc, cfg.Domain)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("opening JetStream: %w", err)
	}
	if nc.IsConnected() {
		lostAt.Store(nil)
	}
	room := newCapacity(cfg.Recorder, cfg.Logger)
	return &Conn{
		nc: nc, names: names.New(cfg.Namespace), copies: max(cfg.Replicas, 1), js: monitored{JetStream: js, capacity: room}, capacity: room, where: cfg.where(), failure: failure, lostAt: lostAt,
		sign: cfg.Sign, domain: cfg.Domain, clock: cfg.clock(), trouble: make(chan struct{}, 1),
	}, nil
}

// clock is that of the server, which inside this process is our own.
func (cfg ConnectConfig) clock() *clock.Clock {
	if cfg.Embedded != nil {
		return clock.Own()
	}
	return clock.New()
}

// UseMarks marks what is published from now on for doors and clients, and asks for such marks of what is taken in. It must be called
// before either begins.
func (c *Conn) UseMarks(by event.Marker) { c.marks = by }

// suspect has the upkeep look at once.
func (c *Conn) suspect() {
	select {
	case c.trouble <- struct{}{}:
	default: // It is to look already.
	}
}

// Clock is the time of the server.
func (c *Conn) Clock() *clock.Clock { return c.clock }

// AskTime asks the server for its time. Where the bucket is missing that tells it, it stays unknown.
func (c *Conn) AskTime(ctx context.Context) error {
	if c.clock == nil {
		return nil
	}
	if err := askTime(ctx, c, c.clock, c.names); err != nil && !layout.HasCode(err, jetstream.JSErrCodeStreamNotFound) {
		return fmt.Errorf("asking NATS for the time: %w", err)
	}
	return nil
}

func askTime(ctx context.Context, a layout.Asker, c *clock.Clock, n names.Names) error {
	return c.Ask(func() (time.Time, error) {
		stream, err := layout.Ask[jetstream.StreamInfo](ctx, a, "STREAM.INFO.KV_"+n.Pace(), nil)
		return stream.TimeStamp, err
	})
}

func (cfg ConnectConfig) where() string {
	if cfg.Embedded != nil {
		return "the embedded server"
	}
	// Credentials in a URL are its user information, up to the last @.
	return userInfo.ReplaceAllString(cfg.URL, "$1")
}

// userInfo is the part of a URL that holds credentials.
var userInfo = regexp.MustCompile(`(//)[^/,]*@`)

// withoutURL is a mistake in a URL without the URL, which may hold credentials.
func withoutURL(err error) error {
	if _, ok := errors.AsType[*url.Error](err); ok {
		return errors.New("the URL cannot be read")
	}
	return err
}

func (cfg ConnectConfig) options(failure *atomic.Pointer[string], lostAt *atomic.Pointer[time.Time]) []nats.Option {
	opts := append(cfg.handlers(failure, lostAt),
		nats.Name(cfg.Name), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(cfg.Wait),
		nats.IgnoreAuthErrorAbort(), // A rotated credential must not end the worker.
		nats.CustomReconnectDelay(reconnectDelay), nats.ReconnectBufSize(noBuffer),
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(pingsOut),
	)
	if cfg.TLS != nil {
		opts = append(opts, nats.Secure(cfg.TLS))
	}
	if cfg.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(cfg.InboxPrefix))
	}
	if cfg.Embedded != nil {
		opts = append(opts, nats.InProcessServer(cfg.Embedded))
		if token := cfg.Embedded.Token(); !token.IsZero() { // It has the one that it started with.
			opts = append(opts, nats.Token(token.Reveal()))
		}
	}
	return opts
}

// handlers tell the log and the metrics how the connection is. A server that is away or refuses the login is asked several
// times a second, and says the same each time.
func (cfg ConnectConfig) handlers(failure *atomic.Pointer[string], lostAt *atomic.Pointer[time.Time]) []nats.Option {
	log, failures := cfg.Logger.Named("nats"), &quiet.Failures{}
	state := func(connected bool) {
		failure.Store(new(string))
		var since *time.Time
		if now := time.Now(); !connected {
			since = &now
		}
		lostAt.Store(since)
		cfg.Recorder.SetNATSConnected(connected)
	}
	return []nats.Option{
		nats.ConnectHandler(func(*nats.Conn) { state(true) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			state(true)
			failures.Over(connectFailed)
			cfg.Recorder.NATSReconnected()
			// A server may take a connection and end it, again and again.
			if repeated, news := failures.News("connected again", errors.New(nc.ConnectedServerName())); news {
				log.Info("connected again", zap.String("server", nc.ConnectedServerName()), repeated)
			}
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			state(false)
			if err != nil {
				failures.Warn(log, "connection lost", err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			failure.Store(new(err.Error()))
			failures.Warn(log, connectFailed, err, zap.String("server", cfg.where()))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			failures.Warn(log, "asynchronous error", err)
			if forbidden, ok := forbiddenBy(err); ok && cfg.OnForbidden != nil {
				cfg.OnForbidden(forbidden)
			}
		}),
	}
}

// connectFailed is what is logged when an attempt to connect fails.
const connectFailed = "cannot connect"

// reconnectDelay grows from a quarter of a second to 15 s, with jitter, so that a fleet
// does not come back as a herd.
func reconnectDelay(attempts int) time.Duration {
	delay := backoff.Delay(reconnectBase, reconnectCap, attempts+1)
	return delay/2 + rand.N(delay/2) //nolint:gosec // Jitter needs no secrecy.
}

// Names are the names of the namespace's streams, buckets and subjects.
func (c *Conn) Names() names.Names { return c.names }

// JetStream returns the JetStream context, for the other adapters on the same connection.
func (c *Conn) JetStream() jetstream.JetStream { return c.js }

// Store returns a bucket of the namespace by its name.
func Store[T any](c *Conn, bucket string) *kv.Store[T] {
	return kv.New[T](c.js, layout.Bucket(c.names, bucket, c.copies))
}

// Ready reports, as an error, that there is no connection, and since when.
func (c *Conn) Ready() error {
	if c.nc.IsConnected() {
		return nil
	}
	why := *c.failure.Load()
	if err := c.nc.LastError(); err != nil { // A refused login on a later attempt is here.
		why = err.Error()
	}
	lost := time.Duration(0)
	if since := c.lostAt.Load(); since != nil {
		lost = time.Since(*since).Round(time.Second)
	}
	return fmt.Errorf("%w at %s for %s: %s", errOffline, c.where, lost, cmp.Or(why, "no attempt to connect has ended yet"))
}

// Capacity reports, as an error, which streams and buckets have refused a message for want of
// capacity within the last minute.
func (c *Conn) Capacity() error { return c.capacity.problems() }

// Close sends what is buffered and closes the connection.
func (c *Conn) Close() {
	if c.nc.IsConnected() {
		// An error means that the server is gone; closing is all that is left.
		_ = c.nc.FlushTimeout(requestTimeout)
	}
	c.nc.Close()
}
