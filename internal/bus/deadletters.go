package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
)

// DeadLetter is one message of the stream of dead letters.
type DeadLetter struct {
	Number  uint64              `json:"number"` // Its sequence; what `dlq show` takes.
	At      time.Time           `json:"at"`
	Subject string              `json:"subject"`
	Code    string              `json:"code"`
	Reason  string              `json:"reason"`
	JobID   string              `json:"job_id,omitempty"`
	Kind    string              `json:"kind,omitempty"`
	Event   jobs.EventRef       `json:"event"`
	Header  map[string][]string `json:"header,omitempty"`
	Payload string              `json:"payload,omitempty"`
}

// DeadLetters reads the stream of dead letters.
type DeadLetters struct {
	stream jetstream.Stream
}

// OpenDeadLetters returns the dead letters of a namespace.
func OpenDeadLetters(ctx context.Context, c *Conn, n Names) (*DeadLetters, error) {
	stream, err := c.js.Stream(ctx, n.DeadLetters())
	if err != nil {
		return nil, fmt.Errorf("opening the dead letters: %w", err)
	}
	return &DeadLetters{stream: stream}, nil
}

// Show returns one dead letter, or jobs.ErrNotFound.
func (d *DeadLetters) Show(ctx context.Context, number uint64) (DeadLetter, error) {
	msg, err := d.stream.GetMsg(ctx, number)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return DeadLetter{}, jobs.ErrNotFound
	}
	if err != nil {
		return DeadLetter{}, fmt.Errorf("reading dead letter %d: %w", number, err)
	}
	letter := newDeadLetter(msg)
	letter.Header, letter.Payload = msg.Header, string(msg.Data)
	return letter, nil
}

// List returns the latest dead letters, newest first, without headers and payloads.
func (d *DeadLetters) List(ctx context.Context, limit int) ([]DeadLetter, error) {
	info, err := d.stream.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the dead letters: %w", err)
	}
	var list []DeadLetter
	for seq := info.State.LastSeq; seq >= max(info.State.FirstSeq, 1) && len(list) < limit; seq-- {
		msg, err := d.stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // Replayed or dropped.
		}
		if err != nil {
			return nil, fmt.Errorf("reading dead letter %d: %w", seq, err)
		}
		list = append(list, newDeadLetter(msg))
	}
	return list, nil
}

// Delete takes a dead letter out of the stream, or returns jobs.ErrNotFound.
func (d *DeadLetters) Delete(ctx context.Context, number uint64) error {
	err := d.stream.DeleteMsg(ctx, number)
	if err == nil {
		return nil
	}
	// The library passes the server's reason on as text only.
	if _, missing := d.Show(ctx, number); errors.Is(missing, jobs.ErrNotFound) {
		return jobs.ErrNotFound
	}
	return fmt.Errorf("deleting dead letter %d: %w", number, err)
}

func newDeadLetter(msg *jetstream.RawStreamMsg) DeadLetter {
	seq, err := strconv.ParseUint(msg.Header.Get(HeaderEventSeq), 10, 64)
	if err != nil {
		seq = 0 // An undecodable job names no event.
	}
	at, err := time.Parse(time.RFC3339Nano, msg.Header.Get(HeaderEventAt))
	if err != nil {
		at = time.Time{}
	}
	return DeadLetter{
		Number: msg.Sequence, At: msg.Time, Subject: msg.Subject,
		Code: msg.Header.Get(HeaderCode), Reason: msg.Header.Get(HeaderReason),
		JobID: msg.Header.Get(HeaderJobID), Kind: msg.Header.Get(HeaderKind),
		Event: jobs.EventRef{
			Source: msg.Header.Get(HeaderEventSource), ID: msg.Header.Get(HeaderEventID),
			Subject: msg.Header.Get(HeaderEventSubject), Seq: seq, At: at,
		},
	}
}
