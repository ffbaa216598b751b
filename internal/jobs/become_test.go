package jobs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// TestBecomeRefusesPlaintext: what leaked in the clear is refused where that is, although nothing of what it becomes is a secret.
func TestBecomeRefusesPlaintext(t *testing.T) {
	t.Parallel()
	params, err := NewParams(kinds.LeakContain, map[string]any{
		"secret": "abcdefgh:7d1f3a52-9b0c-4eef-8a11-3c5e7f90abcd", "org_id": "5ec0000000000000000000b1",
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Request{Kind: kinds.LeakContain, Params: params}.Become(nil)
	if err != nil || r.Kind != kinds.APIKeyDelete || r.Contained != "api_key" {
		t.Fatalf("it became %s (%s): %v", r.Kind, r.Contained, err)
	}
	_, err = Secrets{Plaintext: PlaintextRefuse}.params(r.Params)
	if rejection, ok := errors.AsType[*Rejection](err); !ok || rejection.Code != RejectPlaintext || rejection.Field != "params.secret" {
		t.Errorf("got %v", err)
	}
	if _, err := (Secrets{Plaintext: PlaintextSeal}).params(r.Params); err != nil {
		t.Errorf("sealed as there is nothing to seal: %v", err)
	}
}

// reader is a SecretReader that fails in the same way each time.
type reader struct{ failure *Failure }

func (r reader) ReadSecret(context.Context, Params, kinds.Param) (secret.Value, error) {
	return secret.Value{}, r.failure
}

// TestUnreadLeak: a store that cannot be asked never refuses; what a file does not have waits as long as the rules say; neither
// outlasts the request, and what else the event asks for is done.
func TestUnreadLeak(t *testing.T) {
	t.Parallel()
	params, err := NewParams(kinds.LeakContain, map[string]any{"secret_file": "/run/leak"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		reason  Reason
		waited  time.Duration
		expires time.Duration
		want    string
	}{
		{"store is down", ReasonUnavailable, 48 * time.Hour, 0, "later"},
		{"store is down, and the request ends", ReasonUnavailable, time.Hour, time.Hour, "expires_at"},
		{"no such file", ReasonConfig, 59 * time.Minute, 0, "later"},
		{"no such file, for long", ReasonConfig, time.Hour, 0, "params.secret_file: for 1h0m0s: config: x"},
		{"forbidden", ReasonForbidden, 0, 0, "unfit forbidden: x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Now()
			s := newSpread(Rules{
				Reader: reader{&Failure{Reason: tt.reason, Err: errors.New("x")}}, Sealer: noSealer{}, Patience: time.Hour,
				Decider: decider{asks("leak", disableOf(t, projectOf(1)))},
			})
			e := jwksEvent(t, 1, func(e *Event) {
				e.Direct, e.At = true, now.Add(-tt.waited)
				e.Request = Request{Kind: kinds.LeakContain, Params: params}
				if tt.expires > 0 {
					e.Request.ExpiresAt = e.At.Add(tt.expires)
				}
			})
			accepted, err := s.fanout.Accept(t.Context(), e)
			got := errorText(err)
			if _, later := errors.AsType[*laterError](err); later {
				got = "later"
			} else if err == nil {
				got = "unfit " + s.record(t, accepted.JobID).Unfit
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if id := newID("policy", e.Source, e.ID, newJob(Event{Request: disableOf(t, projectOf(1))}, "security").act()); s.record(t, id).Policy != "leak" {
				t.Error("what else the event asks for is not done")
			}
		})
	}
}

// noSealer has no key.
type noSealer struct{}

func (noSealer) Seal(secret.Value) (string, error) { return "", errors.New("no key") }
func (noSealer) Open(string) (secret.Value, error) { return secret.Value{}, errors.New("no key") }

// TestJoinedLeakSaysWhatItHeld: a leak that joins the job of another request has what it held on its event.
func TestJoinedLeakSaysWhatItHeld(t *testing.T) {
	t.Parallel()
	s := newSpread(Rules{})
	ask := func(seq uint64, kind Kind, name string) Accepted {
		t.Helper()
		params, err := NewParams(kind, map[string]any{name: "eyJhbGciOiJFUzUxMiJ9.e30.c2lnbmF0dXJl"})
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := s.fanout.Accept(t.Context(), jwksEvent(t, seq, func(e *Event) {
			e.Direct, e.Request = true, Request{Kind: kind, Params: params, Account: "security"}
		}))
		if err != nil {
			t.Fatal(err)
		}
		return accepted
	}
	first := ask(1, kinds.TokenRevoke, "token")
	if second := ask(2, kinds.LeakContain, "secret"); second.JobID != first.JobID || second.Result != EventDuplicate {
		t.Fatalf("the leak is job %s (%s)", second.JobID, second.Result)
	}
	r := s.record(t, first.JobID)
	if r.Contained != "" || len(r.Events) != 2 || r.Events[0].Contained != "" || r.Events[1].Contained != "jwt" {
		t.Errorf("the record is %+v", r.Events)
	}
}
