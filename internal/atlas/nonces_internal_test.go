package atlas

import (
	"testing"

	"github.com/icholy/digest"
)

func TestNonces(t *testing.T) {
	var s nonces
	first := s.learn(&digest.Challenge{Nonce: "n1"})
	if s.current() != nil {
		t.Error("a nonce that was not accepted yet is shared")
	}
	if again := s.learn(&digest.Challenge{Nonce: "n1"}); again != first {
		t.Error("a nonce that is handed out again starts anew")
	}
	s.count(first)
	if !s.settle(first, false) {
		t.Error("the refusal of a nonce that was used once is not definite")
	}
	if len(s.fresh) != 0 || s.current() != nil {
		t.Error("a refused nonce is kept")
	}
	second := s.learn(&digest.Challenge{Nonce: "n2"})
	if a, b := s.count(second), s.count(second); a != 1 || b != 2 {
		t.Errorf("counts %d and %d, want 1 and 2", a, b)
	}
	if s.settle(second, true) {
		t.Error("the answer to a nonce that was used twice is definite")
	}
	if len(s.fresh) != 0 || s.current() != second || s.learn(&digest.Challenge{Nonce: "n2"}) != second {
		t.Error("an accepted nonce is not shared")
	}
	if s.settle(nil, true) {
		t.Error("an answer without a nonce is definite")
	}
}
