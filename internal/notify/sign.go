package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"rekey/internal/secret"
)

// Headers of the Standard Webhooks
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp"
	headerSignature = "webhook-signature"
)

// secretPrefix begins a secret for symmetric signatures.
const secretPrefix = "whsec_"

// Bounds of a secret, in bytes, as the specification has them.
const (
	minSecretBytes = 24
	maxSecretBytes = 64
)

// signingKeys reads the secrets in a value: several, divided by white space, while one takes the
// place of another. The error repeats none of them.
func signingKeys(value secret.Value) ([][]byte, error) {
	var keys [][]byte
	for text := range strings.FieldsSeq(value.Reveal()) {
		encoded, ok := strings.CutPrefix(text, secretPrefix)
		if !ok {
			return nil, errors.New("a signing secret must begin with whsec_")
		}
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, errors.New("a signing secret must be whsec_ and base64")
		}
		if len(key) < minSecretBytes || len(key) > maxSecretBytes {
			return nil, fmt.Errorf("a signing secret must have %d to %d bytes", minSecretBytes, maxSecretBytes)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// sign sets the headers of a message that is sent now: its id, the moment, and a signature by
// each key.
func sign(h http.Header, m Message, now time.Time, keys [][]byte) {
	stamp := strconv.FormatInt(now.Unix(), 10)
	h.Set(headerID, m.ID)
	h.Set(headerTimestamp, stamp)
	signatures := make([]string, 0, len(keys))
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(m.ID + "." + stamp + "."))
		mac.Write(m.Body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if len(signatures) > 0 {
		h.Set(headerSignature, strings.Join(signatures, " "))
	}
}
