package jobs

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"rekey/internal/kinds"
)

// Kind is one action that Rekey can take against a credential. Package kinds declares them.
type Kind = kinds.Name

// Kinds lists all kinds.
func Kinds() []Kind { return kinds.Names() }

// ParseKind returns the kind named s. The error lists the known ones and does not
// repeat s, which may be anything.
func ParseKind(s string) (Kind, error) { return kinds.Parse(s) }

// Target names what the job acts on, without any secret, for people: a fingerprint
// for a secret, a path of ids for the rest.
func Target(kind Kind, p Params) string {
	if p.target != "" {
		return p.target
	}
	return kinds.Of(kind).Target(p.Named)
}

// targetKey identifies kind and target in keys: 32 hexadecimal digits of a SHA-256. It
// covers the whole secret, where Target shows only a short fingerprint.
func targetKey(kind Kind, p Params) string {
	target := p.target
	if target == "" {
		target = kinds.Of(kind).Target(func(name string) string { return p.named(name, p.wholeSecret) })
	}
	sum := sha256.Sum256([]byte(string(kind) + "\x00" + target))
	return hex.EncodeToString(sum[:16])
}

// Named is a parameter as the target shows it: secrets as fingerprints, or where they are to be found.
func (p Params) Named(name string) string { return p.named(name, p.shownSecret) }

// Has reports whether a parameter is given under this name.
func (p Params) Has(name string) bool {
	return p.plain[name] != "" || !p.secrets[name].IsZero() || p.sealed[strings.TrimSuffix(name, kinds.SuffixSealed)] != ""
}

// named is a parameter as the target has it: a secret as where it is to be found, or as secret says.
func (p Params) named(name string, secret func(string) string) string {
	if file := p.plain[name+kinds.SuffixFile]; file != "" {
		return "file:" + file
	}
	return cmp.Or(p.plain[name], p.plain[name+kinds.SuffixReference], secret(name))
}

// wholeSecret identifies a secret by all of it, or by its sealed form while that is not opened.
func (p Params) wholeSecret(name string) string {
	whole := p.secrets[name]
	if whole.IsZero() {
		return p.shownSecret(name)
	}
	sum := sha256.Sum256([]byte(whole.Reveal()))
	return hex.EncodeToString(sum[:])
}
