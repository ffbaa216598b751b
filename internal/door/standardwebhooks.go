package door

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// standardWebhooks takes what is signed as Standard Webhooks has it, by a shared secret (v1) or a key pair (v1a)
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
type standardWebhooks struct{ *door }

// Headers, and what begins keys and signatures.
const (
	webhookID        = "Webhook-Id"
	webhookTimestamp = "Webhook-Timestamp"
	webhookSignature = "Webhook-Signature"

	webhookSecret    = "whsec_"
	webhookPublicKey = "whpk_"
	symmetric        = "v1"
	asymmetric       = "v1a"
)

// Bounds of a shared secret, in bytes, as the specification has them.
const (
	minWebhookSecret = 24
	maxWebhookSecret = 64
)

// maxSignatures bounds how many signatures of one request are looked at.
const maxSignatures = 32

// webhookKey is one of a door's keys.
type webhookKey struct {
	version string
	key     []byte
}

// webhookKeys reads keys. The error repeats none of them.
func webhookKeys(texts []string) ([]webhookKey, error) {
	var keys []webhookKey
	for _, text := range texts {
		one := webhookKey{version: symmetric}
		encoded, ok := strings.CutPrefix(text, webhookSecret)
		if !ok {
			one.version = asymmetric
			encoded, ok = strings.CutPrefix(text, webhookPublicKey)
		}
		if !ok {
			return nil, errors.New("a key must begin with whsec_ (a shared secret) or whpk_ (the sender's public key)")
		}
		var err error
		if one.key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, errors.New("a key must be whsec_ or whpk_ and base64")
		}
		switch n := len(one.key); {
		case one.version == symmetric && (n < minWebhookSecret || n > maxWebhookSecret):
			return nil, fmt.Errorf("a shared secret must have %d to %d bytes", minWebhookSecret, maxWebhookSecret)
		case one.version == asymmetric && n != ed25519.PublicKeySize:
			return nil, fmt.Errorf("a public key must have %d bytes", ed25519.PublicKeySize)
		}
		keys = append(keys, one)
	}
	return keys, nil
}

// matches reports whether a signature is that of the key.
func (k webhookKey) matches(version string, content, signature []byte) bool {
	switch {
	case k.version != version:
		return false
	case version == asymmetric:
		return ed25519.Verify(k.key, content, signature)
	}
	return hmac.Equal(sum256(k.key, content), signature)
}

// keys are those of the door.
func (s standardWebhooks) keys() ([]webhookKey, error) {
	texts, err := s.secretsIn(s.Secret)
	if err != nil {
		return nil, err
	}
	keys, err := webhookKeys(texts)
	if err != nil {
		return nil, unavailable("the door's secret cannot be used", err)
	}
	return keys, nil
}

func (s standardWebhooks) check(context.Context) error {
	_, err := s.keys()
	return err
}

func (s standardWebhooks) verify(q *request) error {
	keys, err := s.keys()
	if err != nil {
		return err
	}
	id, stamp := q.Header.Get(webhookID), q.Header.Get(webhookTimestamp)
	if _, err := strconv.ParseInt(stamp, 10, 64); err != nil || id == "" {
		return unauthorized("the headers " + webhookID + " and " + webhookTimestamp + " must be there")
	}
	content := append([]byte(id+"."+stamp+"."), q.body...)
	found := false
	for i, one := range strings.Fields(q.Header.Get(webhookSignature)) {
		version, encoded, _ := strings.Cut(one, ",")
		signature, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || i >= maxSignatures {
			continue
		}
		for _, key := range keys {
			found = key.matches(version, content, signature) || found
		}
	}
	if !found {
		return unauthorized("the header " + webhookSignature + " is missing, or not that of this body")
	}
	return s.inTime(stamp, webhookTimestamp, q.now)
}

func (s standardWebhooks) read(q *request) ([]Event, error) {
	return s.fromAny(q, q.Header.Get(webhookID))
}

func (s standardWebhooks) sign(q *http.Request, one sample) error {
	keys, err := webhookKeys([]string{one.secret})
	if err != nil {
		return err
	}
	if keys[0].version == asymmetric {
		return errors.New("only the sender has the private key of " + webhookPublicKey + "…: try the door with a shared secret (whsec_…)")
	}
	stamp := strconv.FormatInt(one.now.Unix(), 10)
	q.Header.Set(webhookID, one.id)
	q.Header.Set(webhookTimestamp, stamp)
	signature := sum256(keys[0].key, []byte(one.id+"."+stamp+"."), one.body)
	q.Header.Set(webhookSignature, symmetric+","+base64.StdEncoding.EncodeToString(signature))
	return nil
}
