package event

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// Headers of signed events: PUBLIC-KEY.SIGNATURE, the key as NATS writes users' keys, the
// signature of Ed25519 in base64url without padding.
const (
	// HeaderSignature signs the bytes of the payload, which is a CloudEvent in structured mode.
	HeaderSignature = "Rekey-Signature"
	// HeaderReplaySignature signs what is published from a dead letter: see ReplayBytes.
	HeaderReplaySignature = "Rekey-Replay-Signature"
)

// Signatures says whose events are taken in. The zero value takes all.
type Signatures struct {
	Required bool
	Signers  []Signer
	// Window is how far the event's time may be from the moment at which NATS accepted it.
	Window time.Duration
}

// Signer is whose signatures count for a source.
type Signer struct {
	Source     string // A CloudEvents source; with a * at its end, all that begin so.
	PublicKeys []string
}

// sourceOfReplays is the source under which the keys of those who may replay are listed.
const sourceOfReplays = "rekey/operator"

// SigningKey signs what this process publishes itself: ticks of schedules, requests from the
// command line, replays. The zero value signs nothing.
type SigningKey struct {
	seed secret.Value
}

// NewSigningKey returns the key of a user's nkey seed (SU…).
func NewSigningKey(seed secret.Value) (SigningKey, error) {
	k := SigningKey{seed: seed}
	if seed.IsZero() {
		return k, nil
	}
	_, err := k.Public()
	return k, err
}

func (k SigningKey) pair() (nkeys.KeyPair, error) {
	pair, err := nkeys.FromSeed([]byte(k.seed.Reveal()))
	if err != nil {
		return nil, errors.New("holds no seed of a user's nkey")
	}
	return pair, nil
}

// Public is the public key, "" for the zero value.
func (k SigningKey) Public() (string, error) {
	if k.seed.IsZero() {
		return "", nil
	}
	pair, err := k.pair()
	if err != nil {
		return "", err
	}
	public, err := pair.PublicKey()
	if err != nil || !nkeys.IsValidPublicUserKey(public) {
		return "", errors.New("holds no seed of a user's nkey")
	}
	return public, nil
}

// Sign returns the value of a header that signs data, "" for the zero value.
func (k SigningKey) Sign(data []byte) (string, error) {
	if k.seed.IsZero() {
		return "", nil
	}
	pair, err := k.pair()
	if err != nil {
		return "", err
	}
	public, publicErr := pair.PublicKey()
	signature, err := pair.Sign(data)
	if err := errors.Join(publicErr, err); err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return public + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// verify checks a header against data and returns whose key it is.
func verify(header string, data []byte) (string, error) {
	public, text, ok := strings.Cut(header, ".")
	if header == "" {
		return "", errors.New("is missing")
	}
	signature, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil || !nkeys.IsValidPublicUserKey(public) {
		return "", errors.New("must be a user's public key, a dot and a signature in base64url")
	}
	key, err := nkeys.FromPublicKey(public)
	if err != nil || key.Verify(data, signature) != nil {
		return "", errors.New("is not that of these bytes")
	}
	return public, nil
}

// Check says, as a *jobs.Rejection, that a message must not be taken in.
func (s Signatures) Check(m Message) error {
	if !s.Required {
		return nil
	}
	if m.Replay {
		return s.checkReplay(m)
	}
	public, err := verify(m.Header.Get(HeaderSignature), m.Data)
	if err != nil {
		return unsigned(HeaderSignature, err.Error())
	}
	// What is signed must be what is taken in: these headers would put another event, or another
	// identity, in the place of the payload.
	if structured, err := isStructured(m.Header); len(binaryAttributes(m.Header)) > 0 && !structured || err != nil {
		return unsigned(HeaderSignature, "only a CloudEvent in structured mode can be signed, and this one has attributes in headers")
	}
	doc, err := jobs.ParseDocument(m.Data)
	if err != nil {
		return unsigned(HeaderSignature, "only a CloudEvent in structured mode can be signed")
	}
	source, isText := doc.Fields["source"].(string)
	at, timeErr := jobs.ParseTime(fmt.Sprint(doc.Fields["time"]))
	switch {
	case doc.Fields["specversion"] != "1.0" || !isText || source == "":
		return unsigned(HeaderSignature, "only a CloudEvent in structured mode can be signed")
	case !s.trusts(source, public):
		return unsigned(HeaderSignature, "the key "+public+" is none of its source in intake.signers")
	case timeErr != nil:
		return unsigned("time", "is required of a signed event: without it, it could be sent again at any time")
	case m.At.Sub(at).Abs() > s.Window:
		return unsigned("time", fmt.Sprintf("is %s from when NATS accepted it; intake.replay_window is %s", jobs.Span(m.At.Sub(at).Abs()), s.Window))
	}
	return nil
}

// checkReplay checks what was published from a dead letter: the signature of an operator, or of
// the fleet itself, stands for that of the sender and its time.
func (s Signatures) checkReplay(m Message) error {
	public, err := verify(m.Header.Get(HeaderReplaySignature), ReplayBytes(m.Subject, m.Header, m.Data))
	if err != nil {
		return unsigned(HeaderReplaySignature, err.Error())
	}
	if !s.trusts(sourceOfReplays, public) {
		return unsigned(HeaderReplaySignature, "the key "+public+" is none of "+sourceOfReplays+" in intake.signers")
	}
	return nil
}

// ReplayBytes are what the signature of a replay covers: subject, payload, and all headers but
// itself and those of NATS. A header of NATS has no line breaks.
func ReplayBytes(subject string, h nats.Header, data []byte) []byte {
	return covered("rekey-replay.v1", subject, h, func(key string) bool {
		return key == HeaderReplaySignature || strings.HasPrefix(strings.ToLower(key), "nats-")
	}, string(data))
}

// covered are the bytes of a subject, of all headers but some, and of a payload.
func covered(version, subject string, h nats.Header, but func(key string) bool, data string) []byte {
	lines := []string{version, subject}
	for _, key := range slices.Sorted(maps.Keys(h)) {
		if but(key) {
			continue
		}
		for _, value := range h[key] {
			lines = append(lines, key+": "+value)
		}
	}
	return []byte(strings.Join(append(lines, "", data), "\n"))
}

// trusts reports whether a key may sign for a source.
func (s Signatures) trusts(source, public string) bool {
	return slices.ContainsFunc(s.Signers, func(signer Signer) bool {
		prefix, open := strings.CutSuffix(signer.Source, "*")
		return (source == signer.Source || open && strings.HasPrefix(source, prefix)) && slices.Contains(signer.PublicKeys, public)
	})
}

func unsigned(field, detail string) error {
	return &jobs.Rejection{Code: jobs.RejectSignature, Field: field, Detail: detail}
}

// GenerateSigningKey makes a new key and returns it with its public half.
func GenerateSigningKey() (SigningKey, string, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return SigningKey{}, "", fmt.Errorf("making a key: %w", err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return SigningKey{}, "", fmt.Errorf("making a key: %w", err)
	}
	key := SigningKey{seed: secret.New(string(seed))}
	public, err := key.Public()
	return key, public, err
}

// Seed is the private key as NATS writes it.
func (k SigningKey) Seed() secret.Value { return k.seed }
