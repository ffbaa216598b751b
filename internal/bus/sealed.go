package bus

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"rekey/internal/jobs"
	"rekey/internal/names"
	"rekey/internal/redact"
	"rekey/internal/secret"
	"strings"

	"github.com/nats-io/nats.go"
)

// sealedEventMark begins what is sealed of a whole event. A token can never begin with it, as
// it holds a line break: neither can be passed off as the other.
const sealedEventMark = "rekey-event.v1\n"

// maxOpenedBytes bounds an event that was sealed: the largest payload with its headers, in JSON.
const maxOpenedBytes = 3 * jobs.MaxEventBytes

// original is a whole event as it is sealed.
type original struct {
	Header nats.Header `json:"header,omitempty"`
	Data   []byte      `json:"data"`
}

// sealEvent seals a whole event. What is sealed is compressed: it travels in a header.
func sealEvent(s jobs.Sealer, m Message) (string, error) {
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

// openEvent gives back what sealEvent sealed.
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

// secretHeaders are the values of headers whose names say that they are credentials.
func secretHeaders(h nats.Header) []secret.Value {
	var values []secret.Value
	for key, list := range h {
		for _, value := range list {
			if !isOwn(key) && value != "" && redact.NamesSecret(key) {
				values = append(values, secret.New(value))
			}
		}
	}
	return values
}

// isOwn reports whether a header is NATS's or Rekey's, and not the sender's.
func isOwn(key string) bool {
	name := strings.ToLower(key)
	return strings.HasPrefix(name, "nats-") || strings.HasPrefix(name, "rekey-")
}

// holds reports whether the message of an event holds a credential. What another tool says in
// its own words has many a member called token: there, only what looks like a credential counts,
// and what a policy took for one. A direct request may have one under a mistyped name.
func (m Message) holds(e *jobs.Event) bool {
	if e.NotDirect != nil {
		return len(m.Secrets) > 0 || redact.Certain(string(m.Data))
	}
	return m.dirty()
}

// looksSecret reports whether something in a text looks like a credential.
func looksSecret(data []byte) bool { return len(redact.Find(string(data))) > 0 }

// dirty reports whether the message holds something that is or may be a credential.
func (m Message) dirty() bool {
	if redact.Exposed(m.Subject, m.Secrets...) {
		return true
	}
	for key, values := range m.Header {
		for _, value := range values {
			if !isOwn(key) && redact.Header(key, value) != value {
				return true
			}
		}
	}
	if len(m.Data) > jobs.MaxEventBytes { // Too large to be understood, and to be looked through.
		_, found := redact.Payload(m.Data[:cutPayload], m.Secrets...)
		return found || looksSecret(m.Data)
	}
	_, found := redact.Payload(m.Data, m.Secrets...)
	return found
}
