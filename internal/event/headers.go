package event

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
	"rekey/internal/names"
	"rekey/internal/redact"
	"rekey/internal/secret"
)

// Message is a message of the stream of events. Receive makes it fit to
// be read.
type Message struct {
	Subject     string
	Header      nats.Header
	Data        []byte
	Seq         uint64
	At          time.Time // When NATS accepted it.
	Redelivered bool

	// origin is the subject that decides about class and lane: of a replay, that of its first publication.
	Origin string
	// replay says that Rekey itself published the event once more, under the identity that it had.
	Replay bool
	// flaw is why the event must not be taken in, whatever it holds; nil when nothing is wrong.
	Flaw error
	// sealed is the whole event as its dead letter may carry it; empty where it holds no secrets.
	Sealed string
	// secrets are what is known to be secret in it.
	Secrets []secret.Value
	// Known are the worker's own secrets, which the message may repeat. Nil: none.
	Known *redact.Set
	// Marks confirm what is published in the names of doors and clients. Nil: it is taken as it is, as by those who only look at it.
	Marks Marker
}

// Hidden are all secrets that nothing of the message may show.
func (m Message) Hidden() []*redact.Set { return []*redact.Set{m.Known, redact.NewSet(m.Secrets...)} }

// knownHeaders are the headers that intake looks up by name.
var knownHeaders = []string{
	nats.MsgIdHdr, HeaderSignature, HeaderReplaySignature, HeaderMark, names.HeaderReplaySource, names.HeaderReplayID, names.HeaderReplaySubject, names.HeaderSealedEvent,
}

// headerName is the name under which a header is looked up. Clients differ in how they write it.
func headerName(key string) string {
	for _, name := range knownHeaders {
		if strings.EqualFold(key, name) {
			return name
		}
	}
	return key
}

// decides reports whether a header, in lower case, has a part in what becomes of an event.
func decides(name string) bool {
	return strings.HasPrefix(name, "ce-") || strings.HasPrefix(name, "rekey-") ||
		name == "content-type" || name == HeaderTrace || strings.EqualFold(name, nats.MsgIdHdr)
}

// Receive brings the headers of a message under the names that they are looked up by, and tells a replay.
func Receive(n names.Names, m Message) Message {
	m.Header, m.Flaw = orderHeaders(m.Header)
	m.Origin, m.Replay = m.Subject, false
	claims := replayClaims(m.Header)
	switch {
	case m.Flaw != nil || claims == nil:
	case n.EventClass(m.Subject) != jobs.ClassOperator:
		m.Flaw = &jobs.Rejection{Code: jobs.RejectIdentity, Field: claims[0], Detail: "marks what Rekey publishes once more, " +
			"and is accepted on " + n.Event(jobs.ClassOperator) + " only"}
	default:
		if m.Flaw = checkReplay(n, m.Header); m.Flaw == nil {
			m.Origin, m.Replay = m.Header.Get(names.HeaderReplaySubject), true
		}
	}
	return m
}

// orderHeaders returns the headers under the names that they are looked up by. The error joins one
// *jobs.Malformed for each that decides something and has more than one value, in one spelling or several.
func orderHeaders(h nats.Header) (nats.Header, error) {
	if h == nil {
		return nil, nil
	}
	ordered, count, problems := nats.Header{}, map[string]int{}, []error(nil)
	for _, key := range slices.Sorted(maps.Keys(h)) {
		name, lower := headerName(key), strings.ToLower(key)
		ordered[name] = append(ordered[name], h[key]...)
		before := count[lower]
		count[lower] += len(h[key])
		if decides(lower) && before <= 1 && count[lower] > 1 {
			problems = append(problems, &jobs.Malformed{Field: safeHeader(name), Detail: "has several values, in one spelling of the header or in two; it must have one"})
		}
	}
	return ordered, errors.Join(problems...)
}

// safeHeader makes the name of a header fit for messages: a sender may have written anything there.
func safeHeader(name string) string {
	const most = 64
	if len(name) > most || redact.Exposed(name) {
		return fmt.Sprintf("(a header whose name has %d bytes)", len(name))
	}
	return name
}

// replayClaims names the headers by which a message says that Rekey published it once more.
func replayClaims(h nats.Header) []string {
	var claims []string
	for _, key := range slices.Sorted(maps.Keys(h)) {
		if name := strings.ToLower(key); strings.HasPrefix(name, "rekey-replay-") || name == strings.ToLower(names.HeaderSealedEvent) {
			claims = append(claims, key)
		}
	}
	return claims
}

// checkReplay reports, as a *jobs.Malformed, that a replay does not say all that it must.
func checkReplay(n names.Names, h nats.Header) error {
	for _, name := range []string{names.HeaderReplaySource, names.HeaderReplayID} {
		if detail := checkIdentity(h.Get(name)); detail != "" {
			return &jobs.Malformed{Field: name, Detail: detail}
		}
	}
	class, ok := strings.CutPrefix(h.Get(names.HeaderReplaySubject), n.Event(""))
	if !ok || class == "" || strings.ContainsAny(class, " \t*>") || checkIdentity(class) != "" {
		return &jobs.Malformed{Field: names.HeaderReplaySubject, Detail: "is no subject of an event; one that held a credential cannot be replayed"}
	}
	if _, there := h[names.HeaderSealedEvent]; there && h.Get(names.HeaderSealedEvent) == "" {
		return &jobs.Malformed{Field: names.HeaderSealedEvent, Detail: "is empty"}
	}
	return nil
}

// headerValue reads a header whose name may be written in any case.
func headerValue(h nats.Header, name string) string {
	for _, key := range slices.Sorted(maps.Keys(h)) {
		if strings.EqualFold(key, name) && len(h[key]) > 0 {
			return h[key][0]
		}
	}
	return ""
}

// ownHeaders are the headers that the sender has made up, under names in lower case. The values of one
// that has several are joined, as in HTTP.
func ownHeaders(h nats.Header) map[string]string {
	own := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(h)) {
		name := strings.ToLower(key)
		if len(h[key]) == 0 || IsOwn(key) || strings.HasPrefix(name, "ce-") {
			continue
		}
		value := strings.Join(h[key], ", ")
		if before, twice := own[name]; twice {
			value = before + ", " + value
		}
		own[name] = value
	}
	return own
}
