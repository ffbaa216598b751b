package seal_test

import (
	"strings"
	"testing"

	"rekey/internal/seal"
	"rekey/internal/secret"
)

// FuzzParse checks that no text breaks the parser, that what it accepts has one spelling and
// opens with the key that it names or not at all.
func FuzzParse(f *testing.F) {
	key, err := seal.Derive(secret.New("a key that is the same in every run"), "fuzzing")
	if err != nil {
		f.Fatal(err)
	}
	ring, err := seal.NewKeyring(func() ([]*seal.Key, error) { return []*seal.Key{key}, nil })
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := seal.Seal(key.ID(), secret.New(canary))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "rekey-seal.", seal.Prefix, seal.Prefix + key.ID(), sealed, sealed + "=", sealed[:len(sealed)-1], strings.ToUpper(sealed)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, parseErr := seal.Parse(text)
		value, err := ring.Open(text)
		if parseErr == nil && parsed.String() != text {
			t.Errorf("%q is also spelt %q", parsed, text)
		}
		if parseErr != nil && err == nil {
			t.Error("opened what cannot be parsed")
		}
		if err == nil && value.IsZero() {
			t.Error("opened and held nothing")
		}
	})
}
