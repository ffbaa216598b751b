package bus

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/names"
	"rekey/internal/secret"
)

// turnedSealer seals by inverting every bit.
type turnedSealer struct{ fault error }

func turned(text string) string {
	out := []byte(text)
	for i := range out {
		out[i] ^= 0xff
	}
	return string(out)
}

func (s turnedSealer) Seal(v secret.Value) (string, error) {
	return "rekey-seal.v1.X" + strings.Repeat("A", 55) + "." + hex.EncodeToString([]byte(turned(v.Reveal()))), s.fault
}

func (s turnedSealer) Open(text string) (secret.Value, error) {
	raw, err := hex.DecodeString(text[strings.LastIndexByte(text, '.')+1:])
	if err != nil {
		return secret.Value{}, &jobs.Malformed{Detail: "is damaged"}
	}
	return secret.New(turned(string(raw))), s.fault
}

func sealing(p jobs.Plaintext) jobs.Secrets {
	return jobs.Secrets{Sealer: turnedSealer{}, Plaintext: p}
}

func TestSealedEventRoundTrip(t *testing.T) {
	t.Parallel()
	m := event.Message{Data: []byte(`{"token":"` + canary + `"}`), Header: nats.Header{"X-Token": {canary}, "Content-Type": {"application/json"}}}
	text, err := event.Seal(turnedSealer{}, m)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, canary) || strings.ContainsAny(text, "\r\n") {
		t.Errorf("%s is no header that hides the event", text)
	}
	in := Intake{Secrets: sealing(jobs.PlaintextSeal)}
	replayed := event.Receive(names.New("rekey"), event.Message{Subject: names.New("rekey").Event(jobs.ClassOperator), Header: nats.Header{
		names.HeaderSealedEvent: {text}, names.HeaderReplayID: {"7"}, names.HeaderReplaySource: {"urn:siem"}, names.HeaderReplaySubject: {"rekey.v1.event.x"}, "X-Forged": {"y"},
	}})
	got, err := event.Open(names.New("rekey"), in.Secrets.Sealer, replayed)
	if err != nil {
		t.Fatal(err)
	}
	want := nats.Header{
		"X-Token": {canary}, "Content-Type": {"application/json"},
		names.HeaderSealedEvent: {text}, names.HeaderReplayID: {"7"}, names.HeaderReplaySource: {"urn:siem"}, names.HeaderReplaySubject: {"rekey.v1.event.x"},
	}
	if diff := cmp.Diff(want, got.Header); diff != "" || string(got.Data) != string(m.Data) {
		t.Errorf("opened %s with the headers (-want +got):\n%s", got.Data, diff)
	}
	if erase := in.erases(got, &jobs.Event{}); erase {
		t.Error("a message that holds its event sealed is to be erased")
	}
}

// TestSealedTokenIsNoEvent: a client that has a sealed token cannot have it shown by passing it off as an event.
func TestSealedTokenIsNoEvent(t *testing.T) {
	t.Parallel()
	const mark = "rekey-event.v1\n" // Begins what is sealed of a whole event.
	for _, inside := range []string{canary, mark + canary, strings.TrimSpace(mark) + " " + canary} {
		text, err := turnedSealer{}.Seal(secret.New(inside))
		if err != nil {
			t.Fatal(err)
		}
		in := Intake{Secrets: sealing(jobs.PlaintextSeal)}
		m, err := event.Open(names.New("rekey"), in.Secrets.Sealer, event.Message{Replay: true, Header: nats.Header{names.HeaderSealedEvent: {text}}})
		if _, malformed := errors.AsType[*jobs.Malformed](err); !malformed || len(m.Data) > 0 || strings.Contains(err.Error(), canary) {
			t.Errorf("opened %q with %v, want an error that shows nothing", m.Data, err)
		}
	}
}

func TestIntakeErases(t *testing.T) {
	t.Parallel()
	plain := asks("token.revoke", `{"token":"`+canary+`"}`)
	file := asks("token.revoke", `{"token_file":"/run/t"}`)
	sealed := asks("token.revoke", `{"token_sealed":"rekey-seal.v1.X`+strings.Repeat("A", 55)+`.`+hex.EncodeToString([]byte(turned(canary)))+`"}`)
	other := asks("x509.disable", `{"project_id":"`+hexA+`"}`)
	tests := []struct {
		name, data string
		header     nats.Header
		secrets    jobs.Secrets
		wantStays  bool
		wantLetter bool
	}{
		{name: "a token", data: plain, secrets: sealing(jobs.PlaintextSeal)},
		{name: "a token that is allowed", data: plain, secrets: sealing(jobs.PlaintextAllow), wantStays: true},
		{name: "a token by default of this package", data: plain, wantStays: true},
		{name: "a token that is refused", data: plain, secrets: sealing(jobs.PlaintextRefuse), wantLetter: true},
		{name: "a file", data: file, secrets: sealing(jobs.PlaintextSeal), wantStays: true},
		{name: "a file where the clear is refused", data: file, secrets: sealing(jobs.PlaintextRefuse), wantStays: true},
		{name: "a sealed token", data: sealed, secrets: sealing(jobs.PlaintextSeal), wantStays: true},
		{name: "a sealed token where the clear is refused", data: sealed, secrets: sealing(jobs.PlaintextRefuse), wantStays: true},
		{name: "no secret", data: other, secrets: sealing(jobs.PlaintextSeal), wantStays: true},
		{name: "a secret in a header", data: other, header: nats.Header{"Authorization": {"Bearer " + canary}}, secrets: sealing(jobs.PlaintextSeal)},
		{name: "a secret in the name of a header", data: other, header: nats.Header{"mdb_sa_sk_0123456789": {"v"}}, secrets: sealing(jobs.PlaintextSeal)},
		{name: "a known shape in a text", data: strings.Replace(other, `"kind"`, `"reason":"mdb_sa_sk_abc","kind"`, 1), secrets: sealing(jobs.PlaintextSeal)},
		{name: "no request", data: `{"token":"` + canary + `"}`, secrets: sealing(jobs.PlaintextSeal), wantLetter: true},
		{name: "no request without a secret", data: `{"kind":"x"}`, secrets: sealing(jobs.PlaintextSeal), wantStays: true, wantLetter: true},
		{
			name: "no key", data: `{"token":"` + canary + `"}`, wantStays: true, wantLetter: true,
			secrets: jobs.Secrets{Sealer: turnedSealer{fault: errors.New("no key")}, Plaintext: jobs.PlaintextSeal},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			c := &counter{}
			in := r.intake(&desk{}, c)
			in.Secrets = tt.secrets
			stop := background(t, in.Run)
			seq := r.publish(t, "incident", tt.data, tt.header)
			eventually(t, "it is settled", func() bool { return len(c.get()) > 0 && r.settled(t) })
			stop()
			stream, err := r.conn.js.Stream(t.Context(), r.names.Events())
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.GetMsg(t.Context(), seq)
			if stays := err == nil; stays != tt.wantStays || err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
				t.Errorf("the event stays: %v (%v), want %v", stays, err, tt.wantStays)
			}
			letters := r.deadLetters(t)
			if got := len(letters) > 0; got != tt.wantLetter {
				t.Errorf("there is a dead letter: %v, want %v", got, tt.wantLetter)
			}
			if text := r.logs.text(); strings.Contains(text, canary) {
				t.Errorf("the log shows the secret: %s", text)
			}
		})
	}
}

// TestErasedEventIsReplayedFromItsDeadLetter: it is published again as it was, under its identity, and
// an event that cannot be read the second time is a dead letter that can be replayed again.
func TestErasedEventIsReplayedFromItsDeadLetter(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	data := asks("token.revoke", `{"token":"`+canary+`"}`)
	hopeless := true
	d := &desk{}
	d.accept = func(context.Context, jobs.Event) (jobs.Accepted, error) {
		if hopeless {
			return jobs.Accepted{}, &jobs.Malformed{Field: "account", Detail: "is not configured"}
		}
		return jobs.Accepted{Result: jobs.EventAccepted}, nil
	}
	c := &counter{}
	in := r.intake(d, c)
	in.Secrets = sealing(jobs.PlaintextSeal)
	stop := background(t, in.Run)
	r.publish(t, "incident", data, nats.Header{nats.MsgIdHdr: {"m1"}})
	for n := 1; n <= 2; n++ {
		eventually(t, "its dead letter", func() bool { return c.get()["malformed"] == n && r.settled(t) })
		stop()
		letters := r.deadLetters(t)
		hopeless = n == 1
		stop = background(t, in.Run)
		if _, err := NewOriginals(r.conn).ReplayLetter(t.Context(), letters[len(letters)-1]); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "its acceptance", func() bool { return c.get()["accepted"] == 1 && r.settled(t) })
	stop()
	for i, e := range d.events {
		if e.ID != "id:m1" || e.Class != "incident" || e.Request.Params.Secret("token").Reveal() != canary {
			t.Errorf("time %d it came as %+v", i+1, e.EventRef)
		}
	}
	for _, letter := range r.deadLetters(t) {
		if strings.Contains(letter.Payload+letter.Reason, canary) {
			t.Errorf("the dead letter shows the secret: %s %s", letter.Reason, letter.Payload)
		}
	}
}

// asks is a direct request in plain JSON.
func asks(kind, params string) string { return `{"kind":"` + kind + `","params":` + params + `}` }
