package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/redact"
)

// allows says that secrets in the clear may stay where they are.
func (in Intake) allows() bool {
	return in.Secrets.Plaintext == "" || in.Secrets.Plaintext == jobs.PlaintextAllow
}

// refuse says, as an error, that a message holds a secret in the clear and must not.
func (in Intake) refuse(m event.Message, e *jobs.Event) error {
	if in.Secrets.Plaintext != jobs.PlaintextRefuse || m.Sealed != "" || !m.Holds(e) {
		return nil
	}
	return &jobs.Rejection{Code: jobs.RejectPlaintext, Detail: "the event holds a secret in the clear, which intake.plaintext refuses: " +
		"seal it (worker seal) or name a file"}
}

// erases reports whether the message of an event that was taken in must not stay in the stream.
func (in Intake) erases(m event.Message, e *jobs.Event) bool {
	switch {
	case in.allows() || m.Sealed != "":
		return false
	case len(m.Secrets) > 0:
		return true
	case e.NotDirect != nil, // Of what only may be a secret, nothing is lost: the event is taken in.
		e.Request.Kind != "" && len(m.Header) == 0 && !bytes.ContainsAny(m.Data, `\`) && !bytes.Contains(m.Data, []byte(`"specversion"`)):
		// Or nothing but the fields of a request, as they were written, and no parameter is a secret.
		return len(redact.Find(string(m.Data))) > 0
	}
	return m.Holds(e)
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
