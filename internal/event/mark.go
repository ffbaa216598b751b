package event

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
)

// HeaderMark proves that a worker of this fleet has published an event: a keyed hash, which Marker.Mark returns.
const HeaderMark = "Rekey-Mark"

// MarkMissing is in the reason of what was rejected for having no mark.
const MarkMissing = HeaderMark + " is missing"

// purposeOfMarks keeps marks apart from other hashes by the same keys.
const purposeOfMarks = "event"

// Marker makes and confirms marks by keys that only the workers of the fleet have.
type Marker interface {
	// Mark returns a mark of a text, for one purpose.
	Mark(purpose, text string) (string, error)
	// Confirm reports, as a *jobs.Malformed, that no key of the fleet has made this mark of a text. After another error that
	// is not known.
	Confirm(purpose, text, mark string) error
}

// ErrUnmarked says that an event was not published, because it could not be marked.
var ErrUnmarked = errors.New("the event cannot be marked as one of this fleet")

// Mark puts the mark of a message, which has all its other headers, into its header, and names the sender that was authenticated: a door or a
// client of the HTTP API, "" for none.
func Mark(by Marker, msg *nats.Msg, sender string) error {
	mark, err := by.Mark(purposeOfMarks, marked(msg.Subject, msg.Header, msg.Data))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnmarked, err)
	}
	msg.Header.Set(HeaderMark, mark)
	if sender == "" {
		return nil
	}
	proof, err := by.Mark(purposeOfSenders, named(sender, mark))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnmarked, err)
	}
	msg.Header.Set(HeaderSender, proof+" "+sender)
	return nil
}

// HeaderSender proves which door or client a marked event came through: a mark of the sender and of the event's mark, a space, and the sender. A
// replay does not have it.
const HeaderSender = "Rekey-Sender"

// purposeOfSenders keeps the marks of senders apart from other hashes by the same keys.
const purposeOfSenders = "sender"

// named is what the mark of a sender covers.
func named(sender, mark string) string { return mark + " " + sender }

// SenderOf is the door or client of the HTTP API through which a message came, or "" for every other one.
func SenderOf(by Marker, subject string, h nats.Header, data []byte) string {
	mark := h.Get(HeaderMark)
	proof, sender, ok := strings.Cut(h.Get(HeaderSender), " ")
	if by == nil || !ok || mark == "" || by.Confirm(purposeOfSenders, named(sender, mark), proof) != nil ||
		by.Confirm(purposeOfMarks, marked(subject, h, data), mark) != nil {
		return ""
	}
	return sender
}

// marked is what a mark covers: the subject, the headers of the sender, and the payload, in which are source and id. A replay has
// the mark of the first publication.
func marked(subject string, h nats.Header, data []byte) string {
	sum := sha256.Sum256(data)
	return string(covered("rekey-mark.v1", subject, h, IsOwn, hex.EncodeToString(sum[:])))
}

// NeedsMark reports whether a source is that of a door or a client of the HTTP API, in whose name only workers may publish.
func NeedsMark(source string) bool {
	return strings.HasPrefix(source, SourceOfDoors) || strings.HasPrefix(source, SourceOfClients)
}

// checkMark reports, as a *jobs.Rejection, that a message in the name of a door or a client has no mark of this fleet.
func (m Message) checkMark() error {
	if m.Marks == nil {
		return nil
	}
	rejected := func(detail string) error {
		return &jobs.Rejection{Code: jobs.RejectIdentity, Field: "source", Detail: "is that of a door or a client of the HTTP API, and " + detail}
	}
	mark := m.Header.Get(HeaderMark)
	if mark == "" {
		return rejected(MarkMissing + ": only a worker may publish in their names")
	}
	err := m.Marks.Confirm(purposeOfMarks, marked(m.Origin, m.Header, m.Data), mark)
	if wrong, ok := errors.AsType[*jobs.Malformed](err); ok {
		return rejected(HeaderMark + " " + wrong.Detail)
	}
	return err
}
