package jobs

import (
	"errors"
	"testing"

	"rekey/internal/kinds"
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
	r, err := Request{Kind: kinds.LeakContain, Params: params}.become(nil)
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
