package event

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
	"rekey/internal/names"
)

func newSigner(t *testing.T) (SigningKey, string) {
	t.Helper()
	key, public, err := GenerateSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	siem, siemKey := newSigner(t)
	operator, operatorKey := newSigner(t)
	stranger, _ := newSigner(t)
	s := Signatures{Required: true, Window: time.Minute, Signers: []Signer{
		{Source: "urn:siem:*", PublicKeys: []string{"UAAA", siemKey}}, {Source: "rekey/operator", PublicKeys: []string{operatorKey}},
	}}
	event := func(source string, at time.Time) string {
		return fmt.Sprintf(`{"specversion":"1.0","source":%q,"id":"1","type":"t","time":%q,"data":{}}`, source, at.Format(time.RFC3339Nano))
	}
	good := event("urn:siem:eu", moment)
	tests := []struct {
		name, data, want string
		key              SigningKey
		header           nats.Header // Instead of a signature.
		signed           string      // What is signed, where that is not the data.
	}{
		{name: "good", data: good, key: siem},
		{name: "at the edge of the window", data: event("urn:siem:eu", moment.Add(-time.Minute)), key: siem},
		{name: "missing", data: good, want: "Rekey-Signature: is missing"},
		{name: "no signature", data: good, header: nats.Header{HeaderSignature: {"yes"}}, want: "must be a user's public key"},
		{name: "no user's key", data: good, header: nats.Header{HeaderSignature: {"UAAA.AAAA"}}, want: "must be a user's public key"},
		{name: "changed", data: good, signed: good + " ", key: siem, want: "is not that of these bytes"},
		{name: "a stranger", data: good, key: stranger, want: "is none of its source in intake.signers"},
		{name: "another source", data: event("urn:other", moment), key: siem, want: "is none of its source"},
		{name: "an operator for the SIEM", data: good, key: operator, want: "is none of its source"},
		{name: "too old", data: event("urn:siem:eu", moment.Add(-time.Minute-time.Second)), key: siem, want: "time: is 1m1s from"},
		{name: "from the future", data: event("urn:siem:eu", moment.Add(2*time.Minute)), key: siem, want: "time: is 2m0s from"},
		{name: "no time", data: `{"specversion":"1.0","source":"urn:siem:eu","id":"1","type":"t","data":{}}`, key: siem, want: "time: is required"},
		{name: "plain JSON", data: plain, key: siem, want: "only a CloudEvent in structured mode"},
		{name: "no JSON", data: "x", key: siem, want: "only a CloudEvent in structured mode"},
		{name: "another identity in headers", data: good, key: siem, header: nats.Header{"Ce-Id": {"2"}}, want: "this one has attributes in headers"},
		{name: "headers beside the structured mode", data: good, key: siem, header: nats.Header{"ce-id": {"2"}, "Content-Type": {"application/cloudevents+json"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := Message{Subject: "rekey.v1.event.incident", Data: []byte(tt.data), At: moment, Header: tt.header}
			if m.Header == nil {
				m.Header = nats.Header{}
			}
			signed := tt.data
			if tt.signed != "" {
				signed = tt.signed
			}
			signature, err := tt.key.Sign([]byte(signed))
			if err != nil {
				t.Fatal(err)
			}
			if signature != "" {
				m.Header.Set(HeaderSignature, signature)
			}
			err = s.Check(m)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
			if held, ok := errors.AsType[*jobs.Rejection](err); err != nil && (!ok || held.Code != jobs.RejectSignature) {
				t.Errorf("the error is a %T", err)
			}
			if err := (Signatures{}).Check(m); err != nil {
				t.Errorf("where none is required: %v", err)
			}
		})
	}
}

// TestSignedReplays: what an operator replays is taken in long after the window of the original,
// and no other client can pass anything off as a replay.
func TestSignedReplays(t *testing.T) {
	t.Parallel()
	operator, operatorKey := newSigner(t)
	siem, siemKey := newSigner(t)
	s := Signatures{Required: true, Window: time.Minute, Signers: []Signer{
		{Source: "rekey/operator", PublicKeys: []string{operatorKey}}, {Source: "urn:siem", PublicKeys: []string{siemKey}},
	}}
	replay := func(key SigningKey, change func(*Message)) error {
		m := Message{
			Subject: "rekey.v1.event.operator", Data: []byte("{}"), At: moment,
			Header: nats.Header{
				names.HeaderReplaySource: {"urn:siem"}, names.HeaderReplayID: {"7"}, names.HeaderSealedEvent: {"rekey-seal.v1.x"},
				names.HeaderReplaySubject: {"rekey.v1.event.incident"},
			},
		}
		signature, err := key.Sign(ReplayBytes(m.Subject, m.Header, m.Data))
		if err != nil {
			t.Fatal(err)
		}
		m.Header.Set(HeaderReplaySignature, signature)
		if change != nil {
			change(&m)
		}
		m = Receive(names.New("rekey"), m)
		return cmp.Or(m.Flaw, s.Check(m))
	}
	if err := replay(operator, nil); err != nil {
		t.Errorf("an operator's replay: %v", err)
	}
	if err := replay(operator, func(m *Message) { m.Header.Set("Nats-Expected-Stream", "REKEY_EVENTS") }); err != nil {
		t.Errorf("with a header of NATS: %v", err)
	}
	if err := replay(siem, nil); err == nil {
		t.Error("a producer may replay")
	}
	for what, change := range map[string]func(*Message){
		"another identity": func(m *Message) { m.Header.Set(names.HeaderReplayID, "8") },
		"another source":   func(m *Message) { m.Header.Set(names.HeaderReplaySource, "urn:other") },
		"another class":    func(m *Message) { m.Header.Set(names.HeaderReplaySubject, "rekey.v1.event.rotation") },
		"another subject":  func(m *Message) { m.Subject = "rekey.v1.event.incident" },
		"no replay": func(m *Message) {
			m.Header = nats.Header{HeaderReplaySignature: m.Header[HeaderReplaySignature]}
		},
		"another payload": func(m *Message) { m.Data = []byte(plain) },
		"another event":   func(m *Message) { m.Header.Set(names.HeaderSealedEvent, "rekey-seal.v1.y") },
		"another mode":    func(m *Message) { m.Header.Set("ce-id", "8") },
	} {
		if err := replay(operator, change); err == nil {
			t.Errorf("%s passes with the signature of the first", what)
		}
	}
}
