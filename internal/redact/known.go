package redact

import (
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rekey/internal/secret"
)

const (
	// lookEvery is how often the places of known secrets are looked at, at most: they are rotated.
	lookEvery = 2 * time.Second
	// mostKnown bounds how many secrets are remembered, those that were replaced included.
	mostKnown = 1 << 16
)

// Place is where a configuration keeps a secret.
type Place struct {
	// Key is the key of the configuration, such as atlas.accounts[0].client_secret_file.
	Key string
	Ref secret.Ref
	// Lines says that the secret may have several lines, as PEM files have.
	Lines bool
}

// Read returns the secret.
func (p Place) Read(lookupEnv func(string) (string, bool)) (secret.Value, error) {
	if p.Lines {
		return p.Ref.ReadLines(lookupEnv)
	}
	return p.Ref.Read(lookupEnv)
}

// parts are the secrets that a place holds: several may have white space between them, but for what is in PEM.
func (p Place) parts(v secret.Value) []secret.Value {
	text := v.Reveal()
	if !p.Lines || strings.Contains(text, pemBegin) {
		return []secret.Value{v}
	}
	var parts []secret.Value
	for part := range strings.FieldsSeq(text) {
		parts = append(parts, secret.New(part))
	}
	return parts
}

// Known are all secrets that the process has been given, so that no text shows one. It may be
// used by several goroutines at once. Nil knows none, and hides what looks like one.
type Known struct {
	lookupEnv func(string) (string, bool)
	// All are looked for in answers and in the log; in what is taken in, all but plain words, which people write as well.
	// They are replaced, never changed.
	all, telling atomic.Pointer[Set]

	mu     sync.Mutex // Guards what follows.
	places []Place
	looked time.Time
	seen   map[[sha256.Size]byte]bool // Those that the set has.
}

// NewKnown returns a Known that knows nothing yet: see Use.
func NewKnown(lookupEnv func(string) (string, bool)) *Known {
	k := &Known{lookupEnv: lookupEnv, seen: map[[sha256.Size]byte]bool{}}
	k.all.Store(&Set{ours: true})
	k.telling.Store(&Set{ours: true})
	return k
}

// Use takes in the secrets in these places, which are looked at from then on. What was known stays known.
func (k *Known) Use(places []Place) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.places = places
	k.look()
}

// Add takes in secrets that stand in no place.
func (k *Known) Add(values ...secret.Value) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.learn(values)
}

// Look takes in what has changed in the places, unless that was done just now.
func (k *Known) Look() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.looked) >= lookEvery {
		k.look()
	}
}

// Set returns what is known now and is no plain word: what is hidden in texts that are taken in.
func (k *Known) Set() *Set {
	if k == nil {
		return nil
	}
	return k.telling.Load()
}

// Hide returns a text with "[secret]" in the place of every known secret, of what is in other sets, and of what
// looks like a credential. It looks into the places, unless that was done just now.
func (k *Known) Hide(text string, others ...*Set) string {
	if k != nil {
		k.Look()
	}
	return k.HideSeen(text, others...)
}

// HideSeen is Hide without looking anywhere: it never waits.
func (k *Known) HideSeen(text string, others ...*Set) string {
	if k != nil {
		others = append([]*Set{k.all.Load()}, others...)
	}
	return hide(text, secret.Value.String, Find(text), others...)
}

// look reads what is in the places. What cannot be read is not in use either; its user reports it. The lock is held.
func (k *Known) look() {
	k.looked = time.Now()
	var found []secret.Value
	for _, place := range k.places {
		if value, err := place.Read(k.lookupEnv); err == nil {
			found = append(found, place.parts(value)...)
		}
	}
	k.learn(found)
}

// learn takes in what is new. The lock is held.
func (k *Known) learn(found []secret.Value) {
	found = slices.DeleteFunc(found, func(v secret.Value) bool { return k.seen[sha256.Sum256([]byte(v.Reveal()))] })
	if len(found) == 0 {
		return
	}
	all, telling := k.all.Load().clone(), k.telling.Load().clone()
	for _, value := range found {
		if sum := sha256.Sum256([]byte(value.Reveal())); !k.seen[sum] && len(k.seen) < mostKnown {
			k.seen[sum] = true
			all.Add(value)
			if !isPlainWord(value.Reveal()) {
				telling.Add(value)
			}
		}
	}
	k.all.Store(all)
	k.telling.Store(telling)
}
