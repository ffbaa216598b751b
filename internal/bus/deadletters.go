package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/direct"
	"rekey/internal/jobs"
	"rekey/internal/names"
)

// DeadLetter is one message of the stream of dead letters.
type DeadLetter struct {
	Number   uint64    `json:"number"` // Its sequence; what `dlq show` takes.
	At       time.Time `json:"at"`
	Subject  string    `json:"subject"`
	Code     string    `json:"code"`
	Reason   string    `json:"reason"`
	Problems []string  `json:"problems,omitempty"` // Where there are several: each once. Reason has them all.
	JobID    string    `json:"job_id,omitempty"`
	// Succeeded is the outcome of its job, where that has succeeded since.
	Succeeded jobs.Outcome        `json:"succeeded,omitempty"`
	Kind      string              `json:"kind,omitempty"`
	Receiver  string              `json:"receiver,omitempty"` // Of a notification.
	Event     jobs.EventRef       `json:"event"`
	Header    map[string][]string `json:"header,omitempty"`
	Payload   string              `json:"payload,omitempty"`
	sealed    string              // The whole event, sealed, of a letter that was shown.
}

// SettleWith notes what became of the letter's job since. A letter of an event names a job that was not made for it, one of a
// notification is not about the job, and a job whose target is alive has not done what was asked.
func (d *DeadLetter) SettleWith(n names.Names, outcome jobs.Outcome, verdict jobs.Verdict) {
	if outcome.Success() && !verdict.Alive() && d.Subject != n.DeadEvent() && d.Subject != n.DeadNotification() {
		d.Succeeded = outcome
	}
}

// DeadLetters reads the stream of dead letters.
type DeadLetters struct {
	conn   *Conn
	stream jetstream.Stream
}

// OpenDeadLetters returns the dead letters of a namespace. The error wraps jetstream.ErrStreamNotFound where no worker has
// made their stream yet.
func OpenDeadLetters(ctx context.Context, c *Conn) (*DeadLetters, error) {
	stream, err := c.js.Stream(ctx, c.names.DeadLetters())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("the stream %s does not exist yet: the first worker makes it: %w", c.names.DeadLetters(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the dead letters: %w", err)
	}
	return &DeadLetters{conn: c, stream: stream}, nil
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
	if letter.sealed = msg.Header.Get(names.HeaderSealedEvent); letter.sealed == names.SealedInPayload {
		letter.sealed, letter.Payload = letter.Payload, ""
	}
	return letter, nil
}

// List returns the latest dead letters, at most limit, newest first, without headers and
// payloads.
func (d *DeadLetters) List(ctx context.Context, limit int) ([]DeadLetter, error) {
	at, err := direct.PositionOf(ctx, d.conn.js, d.name())
	if err != nil || at.Messages == 0 || limit <= 0 {
		return nil, err
	}
	want := min(uint64(limit), at.Messages)
	var list []DeadLetter
	// Letters that were replayed or dropped leave gaps: the span that is read doubles until it has enough of them.
	for span := want; ; span *= 2 {
		from := max(at.First, 1)
		if span < at.Last-from {
			from = at.Last + 1 - span
		}
		list = nil
		if err := d.each(ctx, from, at, func(letter DeadLetter) { list = append(list, letter) }); err != nil {
			return nil, err
		}
		if uint64(len(list)) >= want || from <= max(at.First, 1) {
			break
		}
	}
	slices.Reverse(list)
	return list[:min(limit, len(list))], nil
}

// Last is the number of the last dead letter that there was.
func (d *DeadLetters) Last(ctx context.Context) (uint64, error) {
	at, err := direct.PositionOf(ctx, d.conn.js, d.name())
	return at.Last, err
}

// Search returns the latest dead letter behind a number ("after"; 0 is all) that matches, without headers and payload, or
// jobs.ErrNotFound. end is the number of the last letter that there is.
func (d *DeadLetters) Search(ctx context.Context, after uint64, match func(DeadLetter) bool) (found DeadLetter, end uint64, err error) {
	at, err := direct.PositionOf(ctx, d.conn.js, d.name())
	if err != nil {
		return found, after, err
	}
	if at.Last <= after || at.Messages == 0 {
		return found, at.Last, jobs.ErrNotFound
	}
	err = d.each(ctx, after+1, at, func(letter DeadLetter) {
		if match(letter) {
			found = letter
		}
	})
	switch {
	case err != nil:
		return found, after, err
	case found.Number == 0:
		return found, at.Last, jobs.ErrNotFound
	}
	return found, at.Last, nil
}

func (d *DeadLetters) name() string { return d.stream.CachedInfo().Config.Name }

// each calls do for the letters from a number on, without headers and payloads.
func (d *DeadLetters) each(ctx context.Context, number uint64, at direct.Position, do func(DeadLetter)) error {
	_, err := direct.Read(ctx, d.conn.js, direct.Query{Stream: d.name(), From: number, Until: at.Reached()}, func(m direct.Message) error {
		do(LetterOf(m))
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the dead letters: %w", err)
	}
	return nil
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

// LetterOf reads a message of the stream of dead letters, without headers and payload.
func LetterOf(m direct.Message) DeadLetter {
	return newDeadLetter(&jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Seq, Header: m.Header, Time: m.At})
}

func newDeadLetter(msg *jetstream.RawStreamMsg) DeadLetter {
	seq, err := strconv.ParseUint(msg.Header.Get(names.HeaderEventSeq), 10, 64)
	if err != nil {
		seq = 0 // An undecodable job names no event.
	}
	at, err := time.Parse(time.RFC3339Nano, msg.Header.Get(names.HeaderEventAt))
	if err != nil {
		at = time.Time{}
	}
	return DeadLetter{
		Number: msg.Sequence, At: msg.Time, Subject: msg.Subject,
		Code: msg.Header.Get(names.HeaderCode), Reason: msg.Header.Get(names.HeaderReason),
		Problems: msg.Header.Values(names.HeaderProblem),
		JobID:    msg.Header.Get(names.HeaderJobID), Kind: msg.Header.Get(names.HeaderKind),
		Receiver: msg.Header.Get(names.HeaderReceiver),
		Event: jobs.EventRef{
			Source: msg.Header.Get(names.HeaderEventSource), ID: msg.Header.Get(names.HeaderEventID),
			Subject: msg.Header.Get(names.HeaderEventSubject), Seq: seq, At: at,
		},
	}
}

// Limits of the copy that a dead letter carries.
const (
	headerMargin = 64 << 10 // Room for the headers in the server's largest message.
	cutHeaders   = 32 << 10 // What is kept of the original's headers.
	sealedHeader = 16 << 10 // The largest sealed event in a header; a larger one is the payload.
)

// codeUndecodable is the code of dead letters that are neither events nor jobs.
const codeUndecodable = "undecodable"
