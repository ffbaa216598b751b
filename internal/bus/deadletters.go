package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/direct"
	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/layout"
	"rekey/internal/names"
	"rekey/internal/redact"
)

// DeadLetter is one message of the stream of dead letters.
type DeadLetter struct {
	Number   uint64              `json:"number"` // Its sequence; what `dlq show` takes.
	At       time.Time           `json:"at"`
	Subject  string              `json:"subject"`
	Code     string              `json:"code"`
	Reason   string              `json:"reason"`
	Problems []string            `json:"problems,omitempty"` // Where there are several: each once. Reason has them all.
	JobID    string              `json:"job_id,omitempty"`
	Kind     string              `json:"kind,omitempty"`
	Receiver string              `json:"receiver,omitempty"` // Of a notification.
	Event    jobs.EventRef       `json:"event"`
	Header   map[string][]string `json:"header,omitempty"`
	Payload  string              `json:"payload,omitempty"`
	sealed   string              // The whole event, sealed, of a letter that was shown.
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

// deadEvent makes the dead letter of an event that is malformed or rejected: the
// original message without its secrets, and sealed where it has some, and why. limit is the
// largest payload that is carried whole.
func deadEvent(n names.Names, m event.Message, e jobs.Event, why error, limit int) *nats.Msg {
	msg := &nats.Msg{Subject: n.DeadEvent(), Header: nats.Header{}}
	hidden := m.Hidden()
	copyHeaders(msg.Header, m.Header, hidden...)
	switch size := len(m.Sealed); {
	case size == 0 || size > limit:
		msg.Data = copyPayload(msg.Header, m.Data, limit, hidden...)
	case size > sealedHeader:
		msg.Header.Set(names.HeaderSealedEvent, names.SealedInPayload)
		msg.Data = []byte(m.Sealed)
	default:
		msg.Header.Set(names.HeaderSealedEvent, m.Sealed)
		msg.Data = copyPayload(msg.Header, m.Data, limit-size, hidden...)
	}
	problems := problemsOf(why)
	msg.Header.Set(names.HeaderReason, headerText(strings.Join(problems, "\n"), hidden...))
	for _, problem := range problems[:min(len(problems), mostProblems)] {
		if len(problems) > 1 {
			msg.Header.Add(names.HeaderProblem, headerText(problem, hidden...))
		}
	}
	msg.Header.Set(names.HeaderCode, jobs.CodeOf(why))
	if policies := jobs.PoliciesOf(why); len(policies) > 0 {
		msg.Header.Set(names.HeaderPolicy, headerText(strings.Join(policies, ",")))
	}
	if e.Request.Kind != "" {
		msg.Header.Set(names.HeaderKind, string(e.Request.Kind))
	}
	if id := askedJob(&e, why); id != "" {
		msg.Header.Set(names.HeaderJobID, id)
	}
	setReference(msg.Header, e.EventRef)
	return msg
}

// mostProblems bounds how many problems of an event are told apart.
const mostProblems = 20

// problemsOf are the lines of an error, each once: several policies can have the same one.
func problemsOf(why error) []string {
	var problems []string
	for line := range strings.Lines(why.Error()) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(problems, line) {
			problems = append(problems, line)
		}
	}
	return problems
}

// askedJob is the id of the job that a direct request asks for, whether there is such a job or not; "" where the event is none,
// or has no right to the identity that it uses.
func askedJob(e *jobs.Event, why error) string {
	if direct := e.Direct || e.Envelope.Type == event.TypeRequested; !direct || jobs.CodeOf(why) == string(jobs.RejectIdentity) {
		return ""
	}
	return e.Request.JobID(e.Source, e.ID)
}

// copyPayload returns the payload for a dead letter: without secrets, and cut when it is
// larger than limit. The headers say so.
func copyPayload(h nats.Header, data []byte, limit int, known ...*redact.Set) []byte {
	size := strconv.Itoa(len(data))
	if len(data) > limit {
		h.Set(names.HeaderTruncated, size)
		data = data[:min(limit, event.CutPayload)]
	}
	clean, redacted := redact.Payload(data, known...)
	if redacted {
		h.Set(names.HeaderRedacted, "true")
	}
	if len(clean) > limit { // A mark can be longer than what it stands for.
		h.Set(names.HeaderTruncated, size)
		clean = clean[:min(limit, event.CutPayload)]
	}
	return clean
}

// carries is the largest payload that a dead letter can carry whole.
func (c *Conn) carries() int {
	return max(min(jobs.MaxEventBytes, int(c.nc.MaxPayload())-headerMargin), 0)
}

// copyHeaders takes over the original's headers but those that would act on the stream of
// dead letters, in the order of their names up to cutHeaders bytes.
func copyHeaders(to, from nats.Header, known ...*redact.Set) {
	size := 0
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if name := strings.ToLower(key); strings.HasPrefix(name, "nats-") || strings.HasPrefix(name, "rekey-") {
			continue
		}
		for _, value := range from[key] {
			clean := redact.Header(key, value, known...)
			if size += len(key) + len(": \r\n") + len(clean); size > cutHeaders {
				return
			}
			to.Add(key, clean)
		}
	}
}

func setReference(h nats.Header, e jobs.EventRef) {
	h.Set(names.HeaderEventSource, headerText(e.Source))
	h.Set(names.HeaderEventID, headerText(e.ID))
	h.Set(names.HeaderEventSubject, e.Subject)
	h.Set(names.HeaderEventSeq, strconv.FormatUint(e.Seq, 10))
	h.Set(names.HeaderEventAt, e.At.UTC().Format(time.RFC3339Nano))
}

// headerText makes a text fit for one header line.
func headerText(text string, known ...*redact.Set) string {
	const most = 2048
	clean := redact.ReplaceShapes([]byte(strings.ToValidUTF8(text, "?")), known...)
	line := strings.Join(strings.FieldsFunc(string(clean), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "…"
	}
	return line
}

// deadLetterEvent stores the dead letter of an event. whole says that it carries what there is of the event; a stream whose limits
// refuse that gets a dead letter with the reason and without a copy.
func (c *Conn) deadLetterEvent(ctx context.Context, m event.Message, e jobs.Event, why error) (whole bool, err error) {
	id := fmt.Sprintf("event.%d.%d.dead", m.Seq, m.At.UnixNano())
	store := func(msg *nats.Msg) error {
		return c.publishOnce(ctx, c.names.DeadLetters(), msg, id, m.Redelivered, m.At)
	}
	err = store(deadEvent(c.names, m, e, why, c.carries()))
	if whole = !tooLarge(err); !whole {
		bare := event.Message{Subject: m.Subject, Seq: m.Seq, At: m.At}
		msg := deadEvent(c.names, bare, e, why, c.carries())
		msg.Header.Set(names.HeaderTruncated, strconv.Itoa(len(m.Data)))
		err = store(msg)
	}
	if err != nil {
		return false, fmt.Errorf("putting event %d among the dead letters: %w", m.Seq, err)
	}
	return whole, nil
}

// The server's codes for messages that are larger than a stream takes: github.com/nats-io/nats-server, server/errors.json.
const (
	codeMessageTooLarge jetstream.ErrorCode = 10054
	codeHeaderTooLarge  jetstream.ErrorCode = 10097
)

// tooLarge reports whether a message was refused for its size: it will be at every attempt.
func tooLarge(err error) bool {
	return layout.HasCode(err, codeMessageTooLarge) || layout.HasCode(err, codeHeaderTooLarge) || errors.Is(err, nats.ErrMaxPayload)
}

// deadLetterJob stores the dead letter of a job message that cannot be decoded.
func (c *Conn) deadLetterJob(ctx context.Context, h *delivery, why error) error {
	msg := &nats.Msg{Subject: c.names.Subject("dlq.job.unknown"), Header: nats.Header{}}
	msg.Data = copyPayload(msg.Header, h.Data(), c.carries())
	msg.Header.Set(names.HeaderReason, headerText(why.Error()))
	msg.Header.Set(names.HeaderCode, codeUndecodable)
	id := fmt.Sprintf("job.%d.%d.dead", h.meta.Sequence.Stream, h.meta.Timestamp.UnixNano())
	return c.publishOnce(ctx, c.names.DeadLetters(), msg, id, h.redelivered(), h.meta.Timestamp.Truncate(time.Second))
}
