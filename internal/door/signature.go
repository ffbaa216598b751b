package door

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"slices"
	"strconv"
	"strings"
	"time"

	"rekey/internal/secret"
)

// secretsIn reads the secrets in a place: one, or several with white space between them while one takes the place of another.
func (d *door) secretsIn(ref secret.Ref) ([]string, error) {
	value, err := ref.ReadLines(d.lookupEnv)
	if err != nil {
		return nil, unavailable("the door's secret cannot be read", err)
	}
	return strings.Fields(value.Reveal()), nil
}

// sum is an HMAC.
func sum(algorithm func() hash.Hash, key []byte, parts ...[]byte) []byte {
	mac := hmac.New(algorithm, key)
	for _, part := range parts {
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// sum256 is an HMAC with SHA-256.
func sum256(key []byte, parts ...[]byte) []byte { return sum(sha256.New, key, parts...) }

// anyKey reports whether one of the keys signs as one of the signatures. All are compared, each in constant time.
func anyKey(keys []string, signatures [][]byte, sign func(key []byte) []byte) bool {
	found := false
	for _, key := range keys {
		want := sign([]byte(key))
		for _, signature := range signatures {
			found = hmac.Equal(want, signature) || found
		}
	}
	return found
}

// oneHex is a list of the one signature that a header has behind a prefix, in hexadecimal digits.
func oneHex(header, prefix string) [][]byte {
	text, ok := strings.CutPrefix(header, prefix)
	signature, err := hex.DecodeString(text)
	if !ok || err != nil || len(signature) == 0 {
		return nil
	}
	return [][]byte{signature}
}

// isOneOf reports whether a text is one of the secrets, in a time that says nothing of either.
func isOneOf(text string, secrets []string) bool {
	got, found := sha256.Sum256([]byte(text)), 0
	for _, one := range secrets {
		want := sha256.Sum256([]byte(one))
		found |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return found == 1
}

// errTime says that a text is no time.
var errTime = errors.New("is no time")

// parseTime reads a time as senders write it: seconds since 1970, or RFC 3339.
func parseTime(text string) (time.Time, error) {
	const digits = 15 // Of more, a float has lost some.
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && len(text) <= 2*digits && seconds > 0 && seconds < 1e11 {
		return time.UnixMicro(int64(seconds * 1e6)), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02 15:04:05.999999-07:00"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, errTime
}

// inTime refuses a signed time that is too far from now: what was signed then may have been recorded.
func (d *door) inTime(text, header string, now time.Time) error {
	at, err := parseTime(text)
	switch {
	case err != nil:
		return unauthorized("the header " + header + " is missing, or no time")
	case now.Sub(at).Abs() > d.Tolerance:
		return unauthorized("the header " + header + " is too far from now: a recorded request, or a clock that is wrong")
	}
	return nil
}

// digest names a text that has no name of its own.
func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, part := range parts {
		h.Write([]byte(strconv.Itoa(len(part)) + ":"))
		h.Write(part)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// bearerToken is the token of a header Authorization: behind Bearer or, where bare is allowed, by itself.
func bearerToken(header string, bare bool) string {
	scheme, token, ok := strings.Cut(strings.TrimSpace(header), " ")
	switch {
	case ok && strings.EqualFold(scheme, "bearer"):
		return strings.TrimSpace(token)
	case !ok && bare && !slices.Contains([]string{"bearer", "basic"}, strings.ToLower(scheme)):
		return scheme
	}
	return ""
}

// Check says, by the name of a door, what keeps it from taking requests: a secret that cannot be used, or keys that cannot be read.
func (a *Doors) Check(ctx context.Context) map[string]error {
	problems := map[string]error{}
	for name, d := range a.doors {
		if err := d.usable(ctx); err != nil {
			problems[name] = err
		}
	}
	return problems
}

func (d *door) usable(ctx context.Context) error {
	for _, ref := range []secret.Ref{d.Secret, d.Token, d.Password, d.StreamToken} {
		if ref.IsZero() {
			continue
		}
		if _, err := d.secretsIn(ref); err != nil {
			return err
		}
	}
	if c, ok := d.sender.(checker); ok {
		return c.check(ctx)
	}
	return nil
}
