package door_test

import (
	"errors"
	"net/http"
	"testing"

	"rekey/internal/door"
	"rekey/internal/refused"
)

// TestSign: what is signed as the sender would is taken in, by every type.
func TestSign(t *testing.T) {
	bodies := map[door.Type]string{
		door.TypeGitLabRevocation: `[{"type":"x","token":"` + canarySecret + `","location":"y"}]`,
		door.TypeCAEP:             `{"iss":"i","aud":"a","jti":"1","iat":1,"sub_id":{"format":"email","email":"x"},"events":{"e":{}}}`,
		door.TypePagerDuty:        `{"event":{"id":"E1"}}`,
		door.TypeSlack:            "command=%2Frekey&trigger_id=1",
		door.TypeTeams:            `{"id":"1","text":"x","conversation":{"id":"2"}}`,
	}
	for _, one := range door.Types() {
		t.Run(string(one), func(t *testing.T) {
			r := newRig(t, door.Door{Name: "d", Type: one, User: "u", CertNames: []string{"n"}, TokenTypes: []string{"x"}, Issuer: "i", Audience: "a"}, secretOf(one))
			body := bodies[one]
			if body == "" {
				body = `{"a":1}`
			}
			q, err := r.doors.Sign(t.Context(), "d", []byte(body), nil)
			if err != nil {
				t.Fatal(err)
			}
			if w := r.serve(q); w.Code >= http.StatusMultipleChoices || len(r.events) != 1 {
				t.Errorf("status %d, %d events: %s", w.Code, len(r.events), w.Body)
			}
		})
	}
	r := newRig(t, door.Door{Type: door.TypeBearer}, "t0ken")
	if _, err := r.doors.Sign(t.Context(), "other", nil, nil); !errors.Is(err, door.ErrNoDoor) {
		t.Errorf("of another door: %v", err)
	}
}

// secretOf is a secret that fits a type.
func secretOf(t door.Type) string {
	if t == door.TypeStandardWebhooks {
		return shared
	}
	return "c2VjcmV0"
}

// Refused implements door.Auditor.
func (r *rig) Refused(k refused.Key, _ string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k.Door != r.name || k.Code != string(door.ResultUnauthorized) || k.Client != "" || k.Route != door.Route {
		r.t.Errorf("kept for the audit trail: %+v", k)
	}
	r.audited++
}

// wantAudited fails unless each request that was unauthorized is in the audit trail, and no other.
func (r *rig) wantAudited() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if want := r.results[string(door.ResultUnauthorized)]; r.audited != want {
		r.t.Errorf("%d refusals are kept for the audit trail, want %d", r.audited, want)
	}
}
