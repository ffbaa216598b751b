package bus

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/credential"
	"rekey/internal/jobs"
	"rekey/internal/secret"
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
func sealEvent(s jobs.Sealer, m incoming) (string, error) {
	plain, err := json.Marshal(original{Header: m.header, Data: m.data})
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
	malformed := func(detail string) error { return &jobs.Malformed{Field: HeaderSealedEvent, Detail: detail} }
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

// open returns a message as it came in first: one that was published from its dead letter
// carries the original sealed. Its identity is what its own headers say.
func (in Intake) open(m incoming) (incoming, error) {
	if m.replay {
		m.sealed = m.header.Get(HeaderSealedEvent)
	}
	if m.sealed == "" {
		return m, nil
	}
	if in.Secrets.Sealer == nil {
		return m, &jobs.Malformed{Field: HeaderSealedEvent, Detail: "cannot be opened: there are no keys"}
	}
	o, err := openEvent(in.Secrets.Sealer, m.sealed)
	if err != nil {
		return m, err
	}
	header := nats.Header{}
	for key, values := range o.Header {
		if !isOwn(key) {
			header[key] = values
		}
	}
	for key, values := range m.header {
		if isOwn(key) {
			header[key] = values
		}
	}
	m.header, m.data = header, o.Data
	return in.Names.receive(m), nil
}

// secretHeaders are the values of headers whose names say that they are credentials.
func secretHeaders(h nats.Header) []secret.Value {
	var values []secret.Value
	for key, list := range h {
		for _, value := range list {
			if !isOwn(key) && value != "" && secretNames.MatchString(key) {
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

// allows says that secrets in the clear may stay where they are.
func (in Intake) allows() bool {
	return in.Secrets.Plaintext == "" || in.Secrets.Plaintext == jobs.PlaintextAllow
}

// refuse says, as an error, that a message holds a secret in the clear and must not.
func (in Intake) refuse(m incoming, e *jobs.Event) error {
	if in.Secrets.Plaintext != jobs.PlaintextRefuse || m.sealed != "" || !m.holds(e) {
		return nil
	}
	return &jobs.Rejection{Code: jobs.RejectPlaintext, Detail: "the event holds a secret in the clear, which intake.plaintext refuses: " +
		"seal it (worker seal) or name a file"}
}

// holds reports whether the message of an event holds a credential. What another tool says in
// its own words has many a member called token: there, only what looks like a credential counts,
// and what a policy took for one. A direct request may have one under a mistyped name.
func (m incoming) holds(e *jobs.Event) bool {
	if e.NotDirect != nil {
		return len(m.secrets) > 0 || credential.Certain(string(m.data))
	}
	return m.dirty()
}

// looksSecret reports whether something in a text looks like a credential.
func looksSecret(data []byte) bool { return len(credential.Find(string(data))) > 0 }

// dirty reports whether the message holds something that is or may be a credential.
func (m incoming) dirty() bool {
	if secret.Exposed(m.subject, m.secrets...) {
		return true
	}
	for key, values := range m.header {
		for _, value := range values {
			if !isOwn(key) && copyHeader(key, value) != value {
				return true
			}
		}
	}
	if len(m.data) > jobs.MaxEventBytes { // Too large to be understood, and to be looked through.
		_, found := redact(m.data[:cutPayload], m.secrets...)
		return found || looksSecret(m.data)
	}
	_, found := redact(m.data, m.secrets...)
	return found
}

// erases reports whether the message of an event that was taken in must not stay in the stream.
func (in Intake) erases(m incoming, e *jobs.Event) bool {
	switch {
	case in.allows() || m.sealed != "":
		return false
	case len(m.secrets) > 0:
		return true
	case e.NotDirect != nil, // Of what only may be a secret, nothing is lost: the event is taken in.
		e.Request.Kind != "" && len(m.header) == 0 && !bytes.ContainsAny(m.data, `\`) && !bytes.Contains(m.data, []byte(`"specversion"`)):
		// Or nothing but the fields of a request, as they were written, and no parameter is a secret.
		return looksSecret(m.data)
	}
	return m.holds(e)
}

// seal prepares a message for the dead letters and reports whether it is to be erased after
// that: then its sealed form stands for it. Where values are refused, nothing does.
func (in Intake) seal(m incoming) (sealed incoming, erase bool) {
	if in.allows() || m.sealed != "" || !m.dirty() {
		return m, false
	}
	if in.Secrets.Plaintext == jobs.PlaintextRefuse {
		return m, true
	}
	text, err := sealEvent(in.Secrets.Sealer, m)
	if err != nil {
		in.Logger.Named("intake").Warn("an event that holds a secret cannot be sealed, and stays in the stream so that it can be replayed",
			zap.Uint64("event_seq", m.seq), zap.Error(err))
		return m, false
	}
	m.sealed = text
	return m, true
}

// erase overwrites a message in the stream of events. It can be repeated.
func (in Intake) erase(ctx context.Context, m incoming) error {
	stream, err := in.Conn.js.Stream(ctx, in.Names.Events())
	if err != nil {
		return fmt.Errorf("erasing event %d: %w", m.seq, err)
	}
	err = stream.SecureDeleteMsg(ctx, m.seq)
	if err == nil {
		return nil
	}
	// The library passes the server's reason on as text only.
	if _, gone := stream.GetMsg(ctx, m.seq); errors.Is(gone, jetstream.ErrMsgNotFound) {
		return nil
	}
	if stream.CachedInfo().Config.DenyDelete {
		in.Logger.Named("intake").Error("the stream of events denies deletion: secrets stay in it", zap.Uint64("event_seq", m.seq))
		return nil
	}
	return fmt.Errorf("erasing event %d: %w", m.seq, err)
}
