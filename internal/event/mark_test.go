package event

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
	"rekey/internal/names"
	"rekey/internal/secret"
)

// fleetKey marks with a key of a test, and seals by hiding nothing.
type fleetKey struct{ key string }

func (f fleetKey) Mark(purpose, text string) (string, error) {
	sum := sha256.Sum256([]byte(f.key + purpose + text))
	return hex.EncodeToString(sum[:]), nil
}

func (f fleetKey) Confirm(purpose, text, mark string) error {
	if want, _ := f.Mark(purpose, text); want != mark { //nolint:errcheck // It has none.
		return &jobs.Malformed{Detail: "is that of another event"}
	}
	return nil
}

func (fleetKey) Seal(value secret.Value) (string, error) { return value.Reveal(), nil }

func (fleetKey) Open(text string) (secret.Value, error) { return secret.New(text), nil }

// TestMarksOfDoorsAndClients: what is published in their names needs the mark of these very bytes, headers and class, also from a dead letter.
func TestMarksOfDoorsAndClients(t *testing.T) {
	t.Parallel()
	const subject = "rekey.v1.event.incident"
	n, key := names.New("rekey"), fleetKey{"k"}
	published := func(source string) *nats.Msg {
		msg := &nats.Msg{Subject: subject, Header: nats.Header{"Content-Type": {CloudEventsJSON}, "X-Github-Event": {"ping"}}, Data: []byte(requestOf("1", source))}
		if err := Mark(key, msg, ""); err != nil {
			t.Fatal(err)
		}
		return msg
	}
	for name, tt := range map[string]struct {
		change func(*nats.Msg)
		taken  bool
	}{
		"as it was published":     {func(*nats.Msg) {}, true},
		"with a header of NATS":   {func(m *nats.Msg) { m.Header.Set("Nats-Stream-Source", "x") }, true},
		"without a mark":          {func(m *nats.Msg) { m.Header.Del(HeaderMark) }, false},
		"another body":            {func(m *nats.Msg) { m.Data = append(m.Data, ' ') }, false},
		"another class":           {func(m *nats.Msg) { m.Subject = "rekey.v1.event.rotation" }, false},
		"another header":          {func(m *nats.Msg) { m.Header.Set("X-Github-Event", "push") }, false},
		"one more header":         {func(m *nats.Msg) { m.Header.Set("ce-id", "1") }, false},
		"the mark of another key": {func(m *nats.Msg) { m.Header.Set(HeaderMark, strings.Repeat("0", 64)) }, false},
		"replayed":                {func(m *nats.Msg) { replayOf(m, subject) }, true},
		"replayed, another class": {func(m *nats.Msg) { replayOf(m, "rekey.v1.event.rotation") }, false},
		"replayed, no mark":       {func(m *nats.Msg) { replayOf(m, subject); m.Header.Del(HeaderMark) }, false},
		"replayed, sealed": {func(m *nats.Msg) {
			text, err := Seal(key, Message{Header: m.Header, Data: m.Data})
			if err != nil {
				t.Fatal(err)
			}
			m.Header, m.Data = nats.Header{names.HeaderSealedEvent: {names.SealedInPayload}}, []byte(text)
			replayOf(m, subject)
		}, true},
	} {
		for _, source := range []string{"rekey/door/github", "rekey/client/soar", "/other"} {
			msg := published(source)
			tt.change(msg)
			m, err := Open(n, key, Receive(n, Message{Subject: msg.Subject, Header: msg.Header, Data: msg.Data, Seq: 42, At: moment, Marks: key}))
			if err != nil {
				t.Fatal(err)
			}
			_, err = Read(n, m)
			held, isHeld := errors.AsType[*jobs.Rejection](err)
			if want := tt.taken || source == "/other"; want != (err == nil) || !want && (!isHeld || held.Code != jobs.RejectIdentity) {
				t.Errorf("%s, %s: %v", name, source, err)
			}
		}
	}
}

// replayOf makes a message one that is published from its dead letter.
func replayOf(m *nats.Msg, subject string) {
	m.Subject = "rekey.v1.event.operator"
	maps.Copy(m.Header, replayHeaders(subject))
}

// TestSenders: a publisher cannot take the turns of a door or client, nor have many of its own.
func TestSenders(t *testing.T) {
	t.Parallel()
	const subject, door = "rekey.v1.event.incident", "rekey/door/github"
	key := fleetKey{"k"}
	marked := func(body, sender string) *nats.Msg {
		m := &nats.Msg{Subject: subject, Header: nats.Header{}, Data: []byte(body)}
		if err := Mark(key, m, sender); err != nil {
			t.Fatal(err)
		}
		return m
	}
	other := marked(`{"source":"rekey/door/github"}`, "rekey/client/soar")
	for name, tt := range map[string]struct {
		change func(*nats.Msg)
		want   string
	}{
		"as it was published":     {func(*nats.Msg) {}, door},
		"without a mark":          {func(m *nats.Msg) { m.Header.Del(HeaderMark) }, ""},
		"the mark of another key": {func(m *nats.Msg) { m.Header.Set(HeaderMark, strings.Repeat("0", 64)) }, ""},
		"another body":            {func(m *nats.Msg) { m.Data = append(m.Data, ' ') }, ""},
		"without a sender":        {func(m *nats.Msg) { m.Header.Del(HeaderSender) }, ""},
		"another sender":          {func(m *nats.Msg) { m.Header.Set(HeaderSender, m.Header.Get(HeaderSender)+"2") }, ""},
		"a sender alone":          {func(m *nats.Msg) { m.Header.Set(HeaderSender, door) }, ""},
		"the sender of another":   {func(m *nats.Msg) { m.Header.Set(HeaderSender, other.Header.Get(HeaderSender)) }, ""},
		"the marks of another":    {func(m *nats.Msg) { m.Header = other.Header }, ""},
	} {
		m := marked(`{}`, door)
		tt.change(m)
		if got := SenderOf(key, m.Subject, m.Header, m.Data); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		if got := SenderOf(nil, m.Subject, m.Header, m.Data); got != "" {
			t.Errorf("%s, by a worker without a key: %q", name, got)
		}
	}
	if got := SenderOf(key, other.Subject, other.Header, other.Data); got != "rekey/client/soar" {
		t.Errorf("what a client says to come from a door is in the turn of %q", got)
	}
}
