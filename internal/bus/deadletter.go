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
	"go.uber.org/zap"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/layout"
	"rekey/internal/names"
	"rekey/internal/redact"
)

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
// dead letters, and those whose name has a credential, in the order of their names up to cutHeaders bytes.
func copyHeaders(to, from nats.Header, known ...*redact.Set) {
	size := 0
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if name := strings.ToLower(key); strings.HasPrefix(name, "nats-") || strings.HasPrefix(name, "rekey-") {
			continue
		}
		if redact.Exposed(key, known...) {
			to.Set(names.HeaderRedacted, "true")
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

// seal prepares a message for the dead letters and reports whether it is to be erased after
// that: then its sealed form stands for it. Where values are refused, nothing does.
func (in Intake) seal(m event.Message) (sealed event.Message, erase bool) {
	if in.allows() || m.Sealed != "" || !m.Dirty() {
		return m, false
	}
	if in.Secrets.Plaintext == jobs.PlaintextRefuse {
		return m, true
	}
	text, err := event.Seal(in.Secrets.Sealer, m)
	if err == nil && len(text) > in.carries() {
		err = fmt.Errorf("it has %d bytes when sealed, and a dead letter can carry %d", len(text), in.carries())
	}
	if err != nil {
		in.Logger.Named("intake").Warn("an event that holds a secret cannot be sealed, and stays in the stream so that it can be replayed",
			zap.Uint64("event_seq", m.Seq), zap.Error(err))
		return m, false
	}
	m.Sealed = text
	return m, true
}

// carries is how much of an event a dead letter can carry.
func (in Intake) carries() int {
	if in.Conn == nil {
		return jobs.MaxEventBytes
	}
	return in.Conn.carries()
}

// erase overwrites a message in the stream of events. It can be repeated.
func (in Intake) erase(ctx context.Context, m event.Message) error {
	stream, err := in.Conn.js.Stream(ctx, in.Conn.names.Events())
	if err != nil {
		return fmt.Errorf("erasing event %d: %w", m.Seq, err)
	}
	err = stream.SecureDeleteMsg(ctx, m.Seq)
	if err == nil {
		return nil
	}
	// The library passes the server's reason on as text only.
	if _, gone := stream.GetMsg(ctx, m.Seq); errors.Is(gone, jetstream.ErrMsgNotFound) {
		return nil
	}
	if stream.CachedInfo().Config.DenyDelete {
		in.Logger.Named("intake").Error("the stream of events denies deletion: secrets stay in it", zap.Uint64("event_seq", m.Seq))
		return nil
	}
	return fmt.Errorf("erasing event %d: %w", m.Seq, err)
}

func (w *Workers) deadLetter(ctx context.Context, h *delivery, why error) error {
	return w.Conn.deadLetterJob(context.WithoutCancel(ctx), h, why)
}
