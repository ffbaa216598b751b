package event

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
	"rekey/internal/names"
	"rekey/internal/redact"
	"rekey/internal/secret"
)

// sealedEventMark begins what is sealed of a whole event. A token can never begin with it, as
// it holds a line break: neither can be passed off as the other.
const sealedEventMark = "rekey-event.v1\n"

// CutPayload is how many bytes are kept, and looked through, of a payload that is too large to be copied whole.
const CutPayload = 64 << 10

// maxOpenedBytes bounds an event that was sealed: the largest payload with its headers, in JSON.
const maxOpenedBytes = 3 * jobs.MaxEventBytes

// original is a whole event as it is sealed.
type original struct {
	Header nats.Header `json:"header,omitempty"`
	Data   []byte      `json:"data"`
}

// Seal seals a whole event. What is sealed is compressed: mostly, it travels in a header.
func Seal(s jobs.Sealer, m Message) (string, error) {
	plain, err := json.Marshal(original{Header: m.Header, Data: m.Data})
	if err != nil {
		return "", fmt.Errorf("encoding an event: %w", err)
	}
	var packed bytes.Buffer
	packed.WriteString(sealedEventMark)
	zip := gzip.NewWriter(&packed)
	_, writeErr := zip.Write(plain)
	if err := errors.Join(writeErr, zip.Close()); err != nil {
		return "", fmt.Errorf("compressing an event: %w", err)
	}
	return s.Seal(secret.New(packed.String()))
}

// openEvent gives back what Seal sealed.
func openEvent(s jobs.Sealer, text string) (original, error) {
	malformed := func(detail string) error { return &jobs.Malformed{Field: names.HeaderSealedEvent, Detail: detail} }
	value, err := s.Open(text)
	if hopeless, ok := errors.AsType[*jobs.Malformed](err); ok {
		return original{}, malformed(hopeless.Detail)
	}
	if err != nil {
		return original{}, fmt.Errorf("opening a sealed event: %w", err)
	}
	packed, ok := strings.CutPrefix(value.Reveal(), sealedEventMark)
	if !ok {
		return original{}, malformed("is no sealed event")
	}
	zip, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		return original{}, malformed("is no sealed event")
	}
	plain, err := io.ReadAll(io.LimitReader(zip, maxOpenedBytes+1))
	var o original
	if err != nil || len(plain) > maxOpenedBytes || json.Unmarshal(plain, &o) != nil {
		return original{}, malformed("is no sealed event")
	}
	return o, nil
}

// Open returns a message as it came in first: one that was published from its dead letter
// carries the original sealed. Its identity is what its own headers say.
func Open(n names.Names, s jobs.Sealer, m Message) (Message, error) {
	if m.Replay {
		m.Sealed = m.Header.Get(names.HeaderSealedEvent)
		if m.Sealed == names.SealedInPayload {
			m.Sealed = string(m.Data)
		}
	}
	if m.Sealed == "" {
		return m, nil
	}
	if s == nil {
		return m, &jobs.Malformed{Field: names.HeaderSealedEvent, Detail: "cannot be opened: there are no keys"}
	}
	o, err := openEvent(s, m.Sealed)
	if err != nil {
		return m, err
	}
	header := nats.Header{}
	for key, values := range o.Header {
		if !IsOwn(key) || headerName(key) == HeaderMark {
			header[key] = values
		}
	}
	for key, values := range m.Header {
		if IsOwn(key) {
			header[key] = values
		}
	}
	m.Header, m.Data = header, o.Data
	return Receive(n, m), nil
}

// SecretHeaders are the values of headers whose names say that they are credentials.
func SecretHeaders(h nats.Header) []secret.Value {
	var values []secret.Value
	for key, list := range h {
		for _, value := range list {
			if !IsOwn(key) && value != "" && redact.NamesSecret(key) {
				values = append(values, secret.New(value))
			}
		}
	}
	return values
}

// IsOwn reports whether a header is NATS's or Rekey's, and not the sender's.
func IsOwn(key string) bool {
	name := strings.ToLower(key)
	return strings.HasPrefix(name, "nats-") || strings.HasPrefix(name, "rekey-")
}

// Holds reports whether the message of an event holds a credential. What another tool says in
// its own words has many a member called token: there, only what looks like a credential counts,
// what a policy took for one, and the worker's own secrets. A direct request may have one under a mistyped name.
func (m Message) Holds(e *jobs.Event) bool {
	if e.NotDirect != nil {
		return len(m.Secrets) > 0 || redact.Exposed(string(m.Data), m.Known) || m.headersShow()
	}
	return m.Dirty()
}

// headersShow reports whether a header has a credential for certain, also in its name.
func (m Message) headersShow() bool {
	hidden := m.Hidden()
	shows := func(text string) bool { return redact.Exposed(text, hidden...) }
	for key, values := range m.Header {
		if shows(key) || !IsOwn(key) && slices.ContainsFunc(values, shows) {
			return true
		}
	}
	return false
}

// Shows reports whether a text of the message has a credential, whatever the names of the members say.
func (m Message) Shows() bool { return redact.Holds(m.Data, m.Hidden()...) || m.headersShow() }

// Dirty reports whether the message holds something that is or may be a credential.
func (m Message) Dirty() bool {
	hidden := m.Hidden()
	if redact.Exposed(m.Subject, hidden...) || m.headersShow() {
		return true
	}
	for key, values := range m.Header {
		for _, value := range values {
			if !IsOwn(key) && redact.Header(key, value, hidden...) != value {
				return true
			}
		}
	}
	if len(m.Data) > jobs.MaxEventBytes { // Too large to be understood, and to be looked through.
		_, found := redact.Payload(m.Data[:CutPayload], hidden...)
		return found || len(redact.Find(string(m.Data))) > 0 || redact.Exposed(string(m.Data), hidden...)
	}
	_, found := redact.Payload(m.Data, hidden...)
	return found
}
