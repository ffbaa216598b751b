package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// How a stream is read. The server holds writes up while it answers one request, so that
// batches are small.
const (
	readBatch   = 512
	readBytes   = 1 << 20
	readTimeout = 5 * time.Second // For one batch.
	// replicaPatience is how long a replica that lags behind its leader is waited for.
	replicaPatience = 2 * time.Second
	replicaPause    = 50 * time.Millisecond
)

// Why a stream cannot be read.
var (
	errNoAnswer  = errors.New("the server does not answer")
	errNotDirect = errors.New("it allows no direct reads (allow_direct), or has no leader")
)

// stored is one message of a stream.
type stored struct {
	seq     uint64
	subject string
	header  nats.Header
	data    []byte
}

// position is where a stream stands.
type position struct {
	created    time.Time // When the stream was made; one that was made anew counts from 1 again.
	first      uint64
	last       uint64
	messages   uint64
	replicated bool
}

// reached is up to where a sweep must get that is to miss nothing. A stream with one
// replica is read where it is written: there is nothing to wait for.
func (p position) reached() uint64 {
	if p.replicated {
		return p.last
	}
	return 0
}

// standing asks the stream's leader where it stands.
func standing(ctx context.Context, js jetstream.JetStream, stream string) (position, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return position{}, fmt.Errorf("opening stream %s: %w", stream, err)
	}
	info := s.CachedInfo()
	return position{
		created: info.Created, first: info.State.FirstSeq, last: info.State.LastSeq, messages: info.State.Msgs,
		replicated: info.Config.Replicas > 1,
	}, nil
}

// sweep calls do for the messages on a subject ("" is all) from a sequence on, in order,
// until none is left, and returns the sequence of the last one (from-1 when there is none).
// A message that is written over while the sweep goes on is met at its new place. With
// until, which a leader has named, a replica that has not got so far yet is waited for.
func sweep(ctx context.Context, js jetstream.JetStream, stream, subject string, from, until uint64, do func(stored) error) (uint64, error) {
	if subject == "" {
		subject = ">"
	}
	last := from - 1
	for waitEnd := time.Now().Add(replicaPatience); ; {
		more, err := sweepBatch(ctx, js, stream, subject, &last, do)
		switch {
		case err != nil:
			return last, fmt.Errorf("reading stream %s: %w", stream, err)
		case more:
		case last >= until || time.Now().After(waitEnd):
			return last, nil
		default:
			if err := wait(ctx, replicaPause); err != nil {
				return last, err
			}
		}
	}
}

// sweepBatch reads one batch of what follows last, moves last on, and reports whether
// there is more.
func sweepBatch(ctx context.Context, js jetstream.JetStream, stream, subject string, last *uint64, do func(stored) error) (bool, error) {
	request, err := json.Marshal(map[string]any{
		"seq": *last + 1, "next_by_subj": subject, "batch": readBatch, "max_bytes": readBytes,
	})
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readTimeout, errNoAnswer)
	defer cancel()
	nc := js.Conn()
	inbox := nc.NewInbox()
	// As long as a batch: what SubscribeSync makes is a hundred times as long.
	messages := make(chan *nats.Msg, readBatch+1)
	sub, err := nc.ChanSubscribe(inbox, messages)
	if err != nil {
		return false, err
	}
	defer sub.Unsubscribe() //nolint:errcheck // It fails when the connection is gone, and with it the subscription.
	if err := nc.PublishRequest(apiPrefix(js)+"DIRECT.GET."+stream, inbox, request); err != nil {
		return false, err
	}
	for {
		var msg *nats.Msg
		select {
		case msg = <-messages:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
		if status := msg.Header.Get("Status"); status != "" {
			return batchEnd(status, msg.Header)
		}
		m, err := newStored(msg)
		if err != nil {
			return false, err
		}
		*last = m.seq
		if err := do(m); err != nil {
			return false, err
		}
	}
}

// apiPrefix begins the subjects of JetStream's API.
func apiPrefix(js jetstream.JetStream) string {
	if domain := js.Options().Domain; domain != "" {
		return "$JS." + domain + ".API."
	}
	return jetstream.DefaultAPIPrefix
}

// batchEnd reads what the server says at the end of a batch: whether there is more.
func batchEnd(status string, h nats.Header) (bool, error) {
	switch status {
	case "204": // The end of a batch.
		return h.Get("Nats-Num-Pending") != "0", nil
	case "404":
		return false, nil
	case "503": // Nobody has answered.
		return false, errNotDirect
	}
	return false, fmt.Errorf("the server says %s %s", status, h.Get("Description"))
}

func newStored(msg *nats.Msg) (stored, error) {
	seq, err := strconv.ParseUint(msg.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return stored{}, fmt.Errorf("a message without a sequence: %w", err)
	}
	return stored{seq: seq, subject: msg.Header.Get("Nats-Subject"), header: msg.Header, data: msg.Data}, nil
}

// wait waits for d or until ctx ends, which is an error.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
