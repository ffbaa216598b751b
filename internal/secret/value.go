// Package secret holds values that must never be shown, and says where they are kept.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

// redacted is what every printer, logger and encoder gets to see instead of a secret.
const redacted = "[secret]"

// fingerprintDigits is how many hexadecimal digits of the SHA-256 a fingerprint shows:
// 48 bits, enough to tell secrets apart and no help in finding one that is not guessable.
const fingerprintDigits = 12

// Value is a secret, such as a client secret or a token. Every usual way to print, log or
// encode it gives "[secret]"; Reveal is the only way to the text. The zero Value holds no
// secret. A Value may be copied and used by several goroutines.
//
// It is a struct around a pointer, because fmt, zap, slog and the JSON and YAML encoders
// cannot call the methods of an unexported field, and would print a string type or a struct
// around a string as it is. The pointer leads to a closure and not to the text, because some
// printers (go-cmp, debuggers' dumpers) follow pointers.
type Value struct {
	sealed *sealed
}

// sealed keeps the text where reflection does not reach it.
type sealed struct {
	reveal func() string
}

// New returns a Value that holds text. The Value of an empty text is the zero Value.
func New(text string) Value {
	if text == "" {
		return Value{}
	}
	return Value{sealed: &sealed{reveal: func() string { return text }}}
}

// Reveal returns the secret in the clear, "" for the zero Value. Each call of it is a place
// to look at in a review: the text may go to the party that it is meant for, and nowhere else.
func (v Value) Reveal() string {
	if v.sealed == nil {
		return ""
	}
	return v.sealed.reveal()
}

// IsZero reports whether there is no secret. Encoders that omit zero values use it, too.
func (v Value) IsZero() bool { return v.sealed == nil }

// Equal reports whether both hold the same secret. The time it takes tells neither where
// they differ nor which is longer: it compares their SHA-256 sums in constant time.
func (v Value) Equal(other Value) bool {
	a, b := sha256.Sum256([]byte(v.Reveal())), sha256.Sum256([]byte(other.Reveal()))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Fingerprint returns "sha256:" and the first 12 hexadecimal digits of the secret's SHA-256,
// by which people can tell one secret from another; "" for the zero Value.
func (v Value) Fingerprint() string {
	if v.IsZero() {
		return ""
	}
	sum := sha256.Sum256([]byte(v.Reveal()))
	return "sha256:" + hex.EncodeToString(sum[:])[:fingerprintDigits]
}

// String returns "[secret]".
func (v Value) String() string { return redacted }

// GoString returns "[secret]".
func (v Value) GoString() string { return redacted }

// Format writes "[secret]" for every verb and flag.
func (v Value) Format(state fmt.State, _ rune) {
	// A formatter has no way to report an error, and the State of package fmt returns none.
	_, _ = io.WriteString(state, redacted)
}

// MarshalText returns "[secret]".
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalBinary returns "[secret]".
func (v Value) MarshalBinary() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[secret]" as a JSON string.
func (v Value) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalYAML returns "[secret]".
func (v Value) MarshalYAML() (any, error) { return redacted, nil }

// LogValue returns "[secret]" for log/slog.
func (v Value) LogValue() slog.Value { return slog.StringValue(redacted) }
