// Package direct reads streams by direct gets (NATS ADR-31). It makes no consumer: who may make one can have the server
// publish what it delivers anywhere.
package direct

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/backoff"
)

// How a stream is read. The server holds writes up while it answers one request, so that
// batches are small.
const (
	readBatch   = 512
	readBytes   = 1 << 20
	readTimeout = 5 * time.Second // For the next message.
	// replicaPatience is how long a replica that lags behind its leader is waited for.
	replicaPatience = 2 * time.Second
	replicaPause    = 50 * time.Millisecond
)

// Why a stream cannot be read.
var (
	// ErrNoAnswer says that the server did not answer in time.
	ErrNoAnswer = errors.New("the server does not answer")
	// ErrNotDirect says that the stream cannot be read directly.
	ErrNotDirect = errors.New("it allows no direct reads (allow_direct), or has no leader")
)

// Message is one message of a stream.
type Message struct {
	Seq     uint64
	At      time.Time // When the stream stored it.
	Subject string
	Header  nats.Header
	Data    []byte
}

// Position is what a stream has: its first and last message, and how it keeps them.
type Position struct {
	Created    time.Time // When the stream was made; one that was made anew counts from 1 again.
	First      uint64
	Last       uint64
	Messages   uint64
	MaxAge     time.Duration
	Replicated bool
	Latest     bool // It keeps one message of each subject: the latest.
}

// Reached is up to where a read must get that is to miss nothing. A stream with one
// replica is read where it is written: there is nothing to wait for.
func (p Position) Reached() uint64 {
	if p.Replicated {
		return p.Last
	}
	return 0
}

// PositionOf asks the stream's leader for its position. The error wraps jetstream.ErrStreamNotFound where there is none.
func PositionOf(ctx context.Context, js jetstream.JetStream, stream string) (Position, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return Position{}, fmt.Errorf("opening stream %s: %w", stream, err)
	}
	info := s.CachedInfo()
	return Position{
		Created: info.Created, First: info.State.FirstSeq, Last: info.State.LastSeq, Messages: info.State.Msgs,
		MaxAge: info.Config.MaxAge, Replicated: info.Config.Replicas > 1,
		Latest: info.Config.MaxMsgsPerSubject == 1,
	}, nil
}

// Query says what is read of a stream.
type Query struct {
	Stream  string
	Subject string // May have wildcards; empty is all.
	// From is the sequence to begin at; 0 is the first. Since, where it is set, is the moment to begin at instead.
	From  uint64
	Since time.Time
	// Until is a sequence that a leader has named: a replica that has not got so far yet is waited for.
	Until uint64
}

// Read calls do for the messages that a query asks for, in order, until none is left, and returns the sequence of the last
// one (that before From when there is none). A message that is written over while the read goes on is met at its new place.
func Read(ctx context.Context, js jetstream.JetStream, q Query, do func(Message) error) (uint64, error) {
	r := reader{js: js, query: q, last: max(q.From, 1) - 1}
	for waitEnd := time.Now().Add(replicaPatience); ; {
		more, err := r.batch(ctx, do)
		switch {
		case err != nil:
			return r.last, fmt.Errorf("reading stream %s: %w", q.Stream, err)
		case more:
		case r.last >= q.Until || time.Now().After(waitEnd):
			return r.last, nil
		default:
			if err := backoff.Sleep(ctx, replicaPause); err != nil {
				return r.last, err
			}
		}
	}
}

// reader is one read that goes on.
type reader struct {
	js    jetstream.JetStream
	query Query
	last  uint64 // The sequence of the last message that was seen.
	begun bool   // Since is behind us.
}

// request is what asks for the next batch.
func (r *reader) request() map[string]any {
	subject := r.query.Subject
	if subject == "" {
		subject = ">"
	}
	request := map[string]any{"next_by_subj": subject, "batch": readBatch, "max_bytes": readBytes}
	if r.query.Since.IsZero() || r.begun {
		request["seq"] = r.last + 1
	} else {
		request["start_time"] = r.query.Since
	}
	return request
}

// batch reads what follows and reports whether there is more.
func (r *reader) batch(ctx context.Context, do func(Message) error) (bool, error) {
	request, err := json.Marshal(r.request())
	if err != nil {
		return false, err
	}
	timer := time.NewTimer(readTimeout)
	defer timer.Stop()
	nc := r.js.Conn()
	inbox := nc.NewInbox()
	// As long as a batch: what SubscribeSync makes is a hundred times as long.
	messages := make(chan *nats.Msg, readBatch+1)
	sub, err := nc.ChanSubscribe(inbox, messages)
	if err != nil {
		return false, err
	}
	defer sub.Unsubscribe() //nolint:errcheck // It fails when the connection is gone, and with it the subscription.
	if err := nc.PublishRequest(apiPrefix(r.js)+"DIRECT.GET."+r.query.Stream, inbox, request); err != nil {
		return false, err
	}
	for {
		select {
		case msg := <-messages:
			// A stored message names its sequence, whatever else its sender has put into its headers.
			if msg.Header.Get("Nats-Sequence") == "" {
				return batchEnd(msg.Header)
			}
			if err := r.message(msg, do); err != nil {
				return false, err
			}
			timer.Reset(readTimeout) // What is done takes its time.
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-timer.C:
			return false, ErrNoAnswer
		}
	}
}

// message calls do for a message of a batch.
func (r *reader) message(msg *nats.Msg, do func(Message) error) error {
	m, err := newMessage(msg)
	if err != nil {
		return err
	}
	r.last, r.begun = m.Seq, true
	return do(m)
}

// apiPrefix begins the subjects of JetStream's API.
func apiPrefix(js jetstream.JetStream) string {
	if domain := js.Options().Domain; domain != "" {
		return "$JS." + domain + ".API."
	}
	return jetstream.DefaultAPIPrefix
}

// batchEnd reads what the server says at the end of a batch: whether there is more.
func batchEnd(h nats.Header) (bool, error) {
	switch status := h.Get("Status"); status {
	case "204": // The end of a batch.
		return h.Get("Nats-Num-Pending") != "0", nil
	case "404":
		return false, nil
	case "503": // Nothing has answered.
		return false, ErrNotDirect
	default:
		return false, fmt.Errorf("the server says %s %s", status, h.Get("Description"))
	}
}

func newMessage(msg *nats.Msg) (Message, error) {
	seq, err := strconv.ParseUint(said(msg.Header, "Nats-Sequence"), 10, 64)
	if err != nil {
		return Message{}, fmt.Errorf("a message without a sequence: %w", err)
	}
	at, err := time.Parse(time.RFC3339Nano, said(msg.Header, "Nats-Time-Stamp"))
	if err != nil {
		return Message{}, fmt.Errorf("a message without a time: %w", err)
	}
	m := Message{Seq: seq, At: at, Subject: said(msg.Header, "Nats-Subject"), Header: msg.Header, Data: msg.Data}
	// These are about the reading.
	for _, name := range []string{"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Num-Pending", "Nats-Last-Sequence"} {
		m.Header.Del(name)
	}
	return m, nil
}

// said is a header of the server's: the last one of its name, for what the sender of a stored message has written comes
// first.
func said(h nats.Header, name string) string {
	values := h.Values(name)
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}
