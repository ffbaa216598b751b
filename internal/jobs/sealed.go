package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"rekey/internal/kinds"
	"rekey/internal/redact"
	"rekey/internal/secret"
)

// sealedPrefix begins every sealed value, whatever its version.
const sealedPrefix = "rekey-seal."

// maxSealedBytes bounds a sealed token: base64 of the largest token, with its key and box.
const maxSealedBytes = 24 << 10

// Sealer keeps secrets out of what is stored. Open returns a *Malformed when the value can never
// be opened with these keys; with any other error, nothing is known yet.
type Sealer interface {
	Seal(value secret.Value) (string, error)
	Open(sealed string) (secret.Value, error)
}

// Plaintext is what becomes of a secret that an event holds in the clear.
type Plaintext string

// What can become of a secret in the clear.
const (
	PlaintextSeal   Plaintext = "seal"   // It is sealed before the job is stored, and the event is erased.
	PlaintextRefuse Plaintext = "refuse" // The event is refused and erased.
	PlaintextAllow  Plaintext = "allow"  // It is stored and carried as it came.
)

// Plaintexts lists all of them, the default first.
func Plaintexts() []Plaintext { return []Plaintext{PlaintextSeal, PlaintextRefuse, PlaintextAllow} }

// Secrets says how the secrets of events are kept.
type Secrets struct {
	Sealer    Sealer
	Plaintext Plaintext
	// Known are the worker's own secrets, which no event may have shown. Nil: none.
	Known *redact.Known
}

// secure makes an event fit to be stored: the parameters of its request opened, so that its target is
// known, and with a sealed form for every secret unless the clear is allowed; the texts that are shown
// without any secret. The secrets are returned, too, where a name of the event held one, which is an error.
func (s Secrets) secure(e *Event) ([]secret.Value, error) {
	params, err := s.params(e.Request.Params)
	if err != nil {
		return nil, err
	}
	e.Request.Params = params
	known := params.known()
	if err := e.Scrub(s.Known.Set(), redact.NewSet(known...)); err != nil {
		return known, err
	}
	return nil, nil
}

// discreet returns a request whose free texts, which results show, hold no secret: none of its own, and nothing that
// looks like one.
func (r Request) discreet() Request {
	known := redact.NewSet(r.Params.known()...)
	for _, text := range []*string{&r.Reason, &r.RequestedBy, &r.OnBehalfOf} {
		*text = redact.Scrub(*text, known)
	}
	return r
}

// known are all secrets that no text may show.
func (p Params) known() []secret.Value {
	return append(slices.Collect(maps.Values(p.secrets)), p.hidden...)
}

func (s Secrets) params(p Params) (Params, error) {
	opened, err := p.Open(s.Sealer)
	if err != nil {
		return p, err
	}
	plain := opened.Plain()
	if opened.clear != "" {
		plain = []string{opened.clear}
	}
	switch {
	case len(plain) == 0 || s.Plaintext == PlaintextAllow:
		return opened, nil
	case s.Plaintext == PlaintextRefuse:
		return p, &Rejection{
			Code: RejectPlaintext, Field: "params." + plain[0],
			Detail: "is in the clear, which intake.plaintext refuses: seal it (worker seal) or name a file",
		}
	}
	return opened.Seal(s.Sealer)
}

// IsSealed reports whether a text is meant as a sealed value. It may still be damaged.
func IsSealed(text string) bool { return strings.HasPrefix(text, sealedPrefix) }

// checkSealed says what is wrong with a sealed value, as far as that is known without
// opening it, or nothing.
func checkSealed(value string) string {
	switch {
	case !IsSealed(value):
		return "must be a sealed value, as worker seal makes them: those begin with " + sealedPrefix
	case len(value) > maxSealedBytes:
		return fmt.Sprintf("has %d bytes; the limit is %d", len(value), maxSealedBytes)
	case strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "must not contain spaces or other characters than ASCII"
	}
	return ""
}

// Open returns the parameters with what is sealed opened, so that their target is that of the
// same secret in the clear. The error is a *Malformed when it can never be opened by who has
// these keys. What is in it is looked at where it is used: its job then ends with a result.
func (p Params) Open(s Sealer) (Params, error) {
	opened := maps.Clone(p.secrets)
	for _, name := range slices.Sorted(maps.Keys(p.sealed)) {
		if _, known := opened[name]; known {
			continue
		}
		field := "params." + name + kinds.SuffixSealed
		value, err := s.Open(p.sealed[name])
		if hopeless, ok := errors.AsType[*Malformed](err); ok {
			p.flaw = &Malformed{Field: field, Detail: hopeless.Detail}
			return p, p.flaw
		}
		if err != nil {
			return p, fmt.Errorf("opening %s: %w", field, err)
		}
		if value.IsZero() {
			p.flaw = &Malformed{Field: field, Detail: "has nothing sealed in it"}
			return p, p.flaw
		}
		if opened == nil {
			opened = map[string]secret.Value{}
		}
		opened[name] = value
	}
	p.secrets = opened
	return p, nil
}

// CheckSealed reports, as a *Malformed, that what was sealed and is opened cannot be what the kind wants.
func (p Params) CheckSealed(kind Kind) error {
	for _, one := range kinds.Of(kind).Secrets() {
		value := p.secrets[one.Name]
		if value.IsZero() || p.sealed[one.Name] == "" {
			continue
		}
		if detail := one.Shape.Check(value.Reveal()); detail != "" {
			return &Malformed{Field: "params." + one.Name + kinds.SuffixSealed, Detail: "what is sealed in it " + detail}
		}
	}
	return nil
}

// Seal returns the parameters with a sealed form for every secret.
func (p Params) Seal(s Sealer) (Params, error) {
	sealed := maps.Clone(p.sealed)
	for name, value := range p.secrets {
		if sealed[name] != "" {
			continue
		}
		text, err := s.Seal(value)
		if err != nil {
			return p, fmt.Errorf("sealing params.%s: %w", name, err)
		}
		if sealed == nil {
			sealed = map[string]string{}
		}
		sealed[name] = text
	}
	p.sealed = sealed
	return p, nil
}

// Plain lists the secret parameters that have no sealed form.
func (p Params) Plain() []string {
	return slices.DeleteFunc(p.secretNames(), func(name string) bool { return p.sealed[name] != "" })
}

// InClear returns the secrets that have no sealed form.
func (p Params) InClear() []secret.Value {
	var values []secret.Value
	for _, name := range p.Plain() {
		values = append(values, p.secrets[name])
	}
	return values
}

// Sealed returns the sealed form of a secret parameter, or "".
func (p Params) Sealed(name string) string { return p.sealed[name] }

// SealedForms returns the sealed forms by the name of their parameter, or nil when it has none.
func (p Params) SealedForms() map[string]string {
	if len(p.sealed) == 0 {
		return nil
	}
	return maps.Clone(p.sealed)
}

// Carried returns the parameters as the queue carries them to the worker that calls: sealed
// where there is a sealed form, and in the clear where intake.plaintext allows that.
func (p Params) Carried() map[string]string {
	carried := maps.Clone(p.plain)
	if carried == nil {
		carried = map[string]string{}
	}
	for _, name := range p.secretNames() {
		if text := p.sealed[name]; text != "" {
			carried[name+kinds.SuffixSealed] = text
		} else {
			carried[name] = p.secrets[name].Reveal()
		}
	}
	return carried
}

// Stored returns the parameters as they may be stored for good: secrets as fingerprints, and
// sealed where there is a sealed form.
func (p Params) Stored() map[string]string {
	stored := p.Shown()
	for name, text := range p.sealed {
		stored[name+kinds.SuffixSealed] = text
	}
	return stored
}

// secretNames lists the secret parameters, in order.
func (p Params) secretNames() []string {
	names := slices.Collect(maps.Keys(p.secrets))
	for name := range p.sealed {
		if _, known := p.secrets[name]; !known {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// shownSecret is how a secret is shown: as its fingerprint, or as one of its sealed form while
// that is not opened.
func (p Params) shownSecret(name string) string {
	if value := p.secrets[name]; !value.IsZero() {
		return value.Fingerprint()
	}
	if text := p.sealed[name]; text != "" {
		sum := sha256.Sum256([]byte(text))
		return "sealed:" + hex.EncodeToString(sum[:6])
	}
	return ""
}

// keyID is what the key of a sealed value is called: its public half.
var keyID = regexp.MustCompile(`^X[A-Z2-7]{55}$`)

// errNotOpened says that a job cannot be run here.
var errNotOpened = errors.New("this worker cannot open it")

// Known reports whether every secret parameter is known here: in the clear or opened.
func (p Params) Known() bool {
	return !slices.ContainsFunc(p.secretNames(), func(name string) bool { return p.NotOpened(name) != nil })
}

// NotOpened says, as an error, that a secret parameter is sealed and was not opened; it is nil
// for one that was, or that is not there. It is a *Malformed when it can never be opened.
func (p Params) NotOpened(name string) error {
	text := p.sealed[name]
	if value := p.secrets[name]; text == "" || !value.IsZero() {
		return nil
	}
	if p.flaw != nil {
		return p.flaw
	}
	id := "(none)"
	if parts := strings.SplitN(text, ".", 4); len(parts) == 4 && keyID.MatchString(parts[2]) {
		id = parts[2]
	}
	return fmt.Errorf("params.%s_sealed is sealed to key %s: %w", name, id, errNotOpened)
}
