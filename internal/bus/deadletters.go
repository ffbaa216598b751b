package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
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
	Target  string              `json:"target,omitempty"` // Of a notification: whom it was for.
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
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("the stream %s does not exist yet: the first worker makes it: %w", n.DeadLetters(), err)
	}
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

// List returns the latest dead letters, at most limit, newest first, without headers and
// payloads.
func (d *DeadLetters) List(ctx context.Context, limit int) ([]DeadLetter, error) {
	cons, err := d.latest(ctx, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the dead letters: %w", err)
	}
	if cons == nil {
		return nil, nil
	}
	defer d.forget(ctx, cons)
	var list []DeadLetter
	err = each(ctx, cons, func(msg jetstream.Msg) error {
		letter, err := headOf(msg)
		list = append(list, letter)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the dead letters: %w", err)
	}
	slices.Reverse(list)
	return list[:min(limit, len(list))], nil
}

// Last is the number of the last dead letter that there was.
func (d *DeadLetters) Last(ctx context.Context) (uint64, error) {
	info, err := d.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the dead letters: %w", err)
	}
	return info.State.LastSeq, nil
}

// Search returns the latest dead letter behind a number ("after"; 0 is all) that matches, without headers and payload, or
// jobs.ErrNotFound. end is the number of the last letter that there is.
func (d *DeadLetters) Search(ctx context.Context, after uint64, match func(DeadLetter) bool) (found DeadLetter, end uint64, err error) {
	info, err := d.stream.Info(ctx)
	if err != nil {
		return found, after, fmt.Errorf("reading the dead letters: %w", err)
	}
	end = info.State.LastSeq
	if end <= after || info.State.Msgs == 0 {
		return found, end, jobs.ErrNotFound
	}
	cons, err := d.from(ctx, after+1)
	if err != nil {
		return found, after, fmt.Errorf("reading the dead letters: %w", err)
	}
	defer d.forget(ctx, cons)
	err = each(ctx, cons, func(msg jetstream.Msg) error {
		letter, err := headOf(msg)
		if err == nil && match(letter) {
			found = letter
		}
		return err
	})
	if err != nil {
		return found, after, fmt.Errorf("reading the dead letters: %w", err)
	}
	if found.Number == 0 {
		return found, end, jobs.ErrNotFound
	}
	return found, end, nil
}

// headOf is a dead letter without its headers and payload.
func headOf(msg jetstream.Msg) (DeadLetter, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return DeadLetter{}, err
	}
	return newDeadLetter(&jetstream.RawStreamMsg{
		Subject: msg.Subject(), Sequence: meta.Sequence.Stream, Header: msg.Headers(), Time: meta.Timestamp,
	}), nil
}

// latest returns a consumer that delivers at least the latest limit letters, or all when
// there are no more, and not many more than that; nil when there is none. Letters that were
// replayed or dropped leave gaps, so that the place to begin at is searched for.
func (d *DeadLetters) latest(ctx context.Context, limit int) (jetstream.Consumer, error) {
	const enough = 4 // So many times the limit is quicker read than searched.
	info, err := d.stream.Info(ctx)
	if err != nil || info.State.Msgs == 0 || limit <= 0 {
		return nil, err
	}
	want := min(uint64(limit), info.State.Msgs)
	low, high := max(info.State.FirstSeq, 1), info.State.LastSeq+1
	for at := max(low, high-min(want, high)); ; at = low + (high-low)/2 { // Without gaps it begins at the right place.
		cons, err := d.from(ctx, at)
		if err != nil {
			return nil, err
		}
		pending := cons.CachedInfo().NumPending
		if pending >= want && pending <= enough*want || high-low <= 1 {
			return cons, nil
		}
		if pending >= want {
			low = at
		} else {
			high = at
		}
		d.forget(ctx, cons)
	}
}

// from returns a consumer that delivers the headers of the letters from a number on.
func (d *DeadLetters) from(ctx context.Context, number uint64) (jetstream.Consumer, error) {
	return d.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: number, HeadersOnly: true,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: searchIdle,
	})
}

// forget deletes a consumer. The server does it by itself, too, only later.
func (d *DeadLetters) forget(ctx context.Context, cons jetstream.Consumer) {
	_ = d.stream.DeleteConsumer(ctx, cons.CachedInfo().Name)
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

// sealedEvent is the whole event, sealed, or "". The letter must come from Show.
func (d DeadLetter) sealedEvent() string { return nats.Header(d.Header).Get(HeaderSealedEvent) }

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
		Target: msg.Header.Get(HeaderTarget),
		Event: jobs.EventRef{
			Source: msg.Header.Get(HeaderEventSource), ID: msg.Header.Get(HeaderEventID),
			Subject: msg.Header.Get(HeaderEventSubject), Seq: seq, At: at,
		},
	}
}
