package event

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
	"rekey/internal/names"
)

// FuzzDecodeEvent holds that every message gets an error that says what is wrong with it, and
// that what is said repeats no value: the canary is wherever a value can be.
func FuzzDecodeEvent(f *testing.F) {
	f.Add(plain, "", "", "")
	f.Add(`{"kind":"token.revoke","params":{"token":"CANARY"}}`, "", "", "")
	f.Add(`{"kind":"token.revoke","params":{"tokn":"CANARY"}}`, "", "", "")
	f.Add(`{"kind":"CANARY","lane":"CANARY","params":["CANARY"],"account":7}`, "", "", "id")
	f.Add(structured(append(envelope("CANARY", "/s"), `"data":{"kind":"x509.disable","params":{"project_id":"CANARY"}}`)...), "", "", "")
	f.Add(structured(`"specversion":"CANARY"`, `"type":"CANARY"`, `"source":"%zzCANARY"`), "content-type", "application/cloudevents+json", "")
	f.Add(structured(append(envelope("1", "/s"), `"data_base64":"CANARY"`)...), "", "", "")
	f.Add(plain, "ce-id", "CANARY", "")
	f.Add(plain, "Ce-Type", "%43ANARY", "")
	f.Add(`{"a":`, "CE-SPECVERSION", "1.0", "x")
	f.Add(`{"kind":"x509.disable",CANARY}`, "", "", "")
	f.Add(`{"expires_at":"CANARY","kind":"x509.disable"}`, "", "", "")
	f.Add(structured(append(envelope("CANARY", "rekey/schedule/CANARY"), `"data":{}`)...), "", "", "")
	f.Add(plain, "Rekey-Replay-Id", "CANARY", "")
	f.Add(`["CANARY"]`, "", "", "CANARY")
	f.Fuzz(func(t *testing.T, data, key, value, msgID string) {
		plant := strings.NewReplacer("CANARY", canary)
		h := nats.Header{}
		if key != "" {
			h[key] = []string{plant.Replace(value)}
		}
		if msgID != "" {
			h[nats.MsgIdHdr] = []string{msgID}
		}
		e, err := decodeEvent(names.New("rekey"), message(plant.Replace(data), h))
		if err == nil {
			if e.Request.Kind == "" || e.ID == "" || e.Source == "" {
				t.Errorf("understood an event without kind or identity: %+v", e)
			}
			return
		}
		if held, ok := errors.AsType[*jobs.Rejection](err); !onlyMalformed(err) && (!ok || held.Code != jobs.RejectIdentity) {
			t.Errorf("the error is %T: %v", err, err)
		}
		if text := err.Error(); strings.Contains(text, canary) && !namesCanary(data) {
			t.Errorf("the error repeats a value: %s", text)
		}
	})
}
