package seal_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"rekey/internal/seal"
	"rekey/internal/secret"
)

const canary = "eyJ.canary-0f1e2d3c"

func newKey(t *testing.T) *seal.Key {
	t.Helper()
	key, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustSeal(t *testing.T, public, text string) string {
	t.Helper()
	sealed, err := seal.Seal(public, secret.New(text))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// ringOf is a keyring on keys that do not change.
func ringOf(t *testing.T, keys ...*seal.Key) *seal.Keyring {
	t.Helper()
	ring, err := seal.NewKeyring(func() ([]*seal.Key, error) { return keys, nil })
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	for _, text := range []string{"x", canary, "ü \x00\n", strings.Repeat("long", 1<<16)} {
		sealed := mustSeal(t, key.ID(), text)
		if !strings.HasPrefix(sealed, "rekey-seal.v1."+key.ID()+".") || strings.ContainsFunc(sealed, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%.80s is no word that begins with the key's id", sealed)
		}
		if text != "x" && strings.Contains(sealed, text) {
			t.Errorf("%.80s holds the secret", sealed)
		}
		got, err := ringOf(t, key).Open(sealed)
		if err != nil || got.Reveal() != text {
			t.Errorf("opened %.20q, %v, want %.20q", got.Reveal(), err, text)
		}
	}
}

func TestSealingTwiceDiffers(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	if a, b := mustSeal(t, key.ID(), canary), mustSeal(t, key.ID(), canary); a == b {
		t.Error("the same secret sealed twice looks the same: no reader may learn whether two are equal")
	}
}

// TestAnyClientLibrarySeals follows docs/secrets.md with nothing but the NATS library.
func TestAnyClientLibrarySeals(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	sender, err := nkeys.CreateCurveKeys()
	if err != nil {
		t.Fatal(err)
	}
	from, err := sender.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	box, err := sender.Seal([]byte(canary), key.ID())
	if err != nil {
		t.Fatal(err)
	}
	sealed := "rekey-seal.v1." + key.ID() + "." + base64.RawURLEncoding.EncodeToString(append([]byte(from), box...))
	got, err := ringOf(t, key).Open(sealed)
	if err != nil || got.Reveal() != canary {
		t.Errorf("opened %v with %v, want the secret", got.Fingerprint(), err)
	}
}

func TestSealRefuses(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	tests := []struct {
		name, public, text, want string
	}{
		{"nothing", key.ID(), "", "1 to"},
		{"too much", key.ID(), strings.Repeat("x", seal.MaxTextBytes+1), "1 to"},
		{"no key", "", canary, "no public curve key"},
		{"a seed", key.Seed().Reveal(), canary, "no public curve key"},
		{"another kind of key", "UA" + key.ID()[2:], canary, "no public curve key"},
		{"a damaged key", key.ID()[:55] + "@", canary, "no public curve key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := seal.Seal(tt.public, secret.New(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), key.Seed().Reveal()) {
				t.Error("the error repeats a seed")
			}
		})
	}
}

func TestParseMistakes(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	good := mustSeal(t, key.ID(), canary)
	id, payload, _ := strings.Cut(strings.TrimPrefix(good, seal.Prefix), ".")
	tests := []struct{ name, text, want string }{
		{"empty", "", "is no sealed value: those begin with"},
		{"plain", canary, "is no sealed value: those begin with"},
		{"another version", "rekey-seal.v2." + id + "." + payload, "a version that is not known"},
		{"prefix only", seal.Prefix, "the key id must be"},
		{"no key id", seal.Prefix + payload, "the key id must be"},
		{"lower case", seal.Prefix + strings.ToLower(id) + "." + payload, "the key id must be"},
		{"a user's key", seal.Prefix + "U" + id[1:] + "." + payload, "the key id must be"},
		{"another prefix with the same highest bits", seal.Prefix + "XZ" + id[2:] + "." + payload, "the key id must be"},
		{"no payload", seal.Prefix + id + ".", "too short"},
		{"padding", good + "=", "base64url"},
		{"a line break", good[:len(good)-4] + "\n" + good[len(good)-4:], "base64url"},
		{"standard base64", seal.Prefix + id + ".+/" + payload[2:], "base64url"},
		{"something behind", good + ".x", "base64url"},
		{"short", seal.Prefix + id + "." + payload[:80], "too short"},
		{"no sender", seal.Prefix + id + "." + strings.Repeat("A", len(payload)-len(payload)%4), "the sender's public curve key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := seal.Parse(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
		})
	}
}

func TestOpenDamaged(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	good := mustSeal(t, key.ID(), canary)
	at := len(good) - 10
	damaged := good[:at] + string('A'+(good[at]-'A'+1)%26) + good[at+1:]
	got, err := ringOf(t, key).Open(damaged)
	if err == nil || !strings.Contains(err.Error(), "damaged") || !got.IsZero() {
		t.Errorf("opened %v with %v, want an error that says that it is damaged", got.Fingerprint(), err)
	}
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Error("the error repeats the secret")
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	old, fresh, foreign := newKey(t), newKey(t), newKey(t)
	ring := ringOf(t, fresh, old)
	if ring.ID() != fresh.ID() {
		t.Errorf("seals to %s, want the first key %s", ring.ID(), fresh.ID())
	}
	for _, key := range []*seal.Key{old, fresh} {
		if got, err := ring.Open(mustSeal(t, key.ID(), canary)); err != nil || got.Reveal() != canary {
			t.Errorf("opening what is sealed to %s: %v", key.ID(), err)
		}
	}
	_, err := ring.Open(mustSeal(t, foreign.ID(), canary))
	var unknown *seal.UnknownKeyError
	if !errors.As(err, &unknown) || unknown.ID != foreign.ID() || !strings.Contains(err.Error(), foreign.ID()) {
		t.Errorf("the error is %v, want an unknown key by its id", err)
	}
}

func TestKeysAreReadAgainWhenOneIsMissing(t *testing.T) {
	t.Parallel()
	old, fresh := newKey(t), newKey(t)
	keys, fault := []*seal.Key{old}, error(nil)
	ring, err := seal.NewKeyring(func() ([]*seal.Key, error) { return keys, fault })
	if err != nil {
		t.Fatal(err)
	}
	sealed := mustSeal(t, fresh.ID(), canary)
	fault = errors.New("no such file")
	if _, err := ring.Open(sealed); !errors.Is(err, seal.ErrReading) {
		t.Errorf("the error is %v, want that the keys cannot be read", err)
	}
	keys, fault = []*seal.Key{fresh}, nil
	for _, text := range []string{sealed, mustSeal(t, old.ID(), canary)} {
		if got, err := ring.Open(text); err != nil || got.Reveal() != canary {
			t.Errorf("opening with a key that was there once: %v", err)
		}
	}
	if ring.ID() != fresh.ID() {
		t.Error("the new first key does not seal")
	}
}

func TestNoKey(t *testing.T) {
	t.Parallel()
	var keys []*seal.Key
	fault := errors.New("not mounted yet")
	ring, err := seal.NewKeyring(func() ([]*seal.Key, error) { return keys, fault })
	if !errors.Is(err, fault) {
		t.Errorf("the error is %v, want why there is no key", err)
	}
	if _, err := ring.Seal(secret.New(canary)); !errors.Is(err, seal.ErrNoKey) || !errors.Is(err, fault) {
		t.Errorf("the error is %v, want that there is no key, and why", err)
	}
	fault = nil
	if _, err := ring.Seal(secret.New(canary)); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("the error is %v, want that there is no key", err)
	}
	keys = []*seal.Key{newKey(t)}
	sealed, err := ring.Seal(secret.New(canary))
	if err != nil {
		t.Fatalf("sealing with a key that came late: %v", err)
	}
	if got, err := ring.Open(sealed); err != nil || got.Reveal() != canary {
		t.Errorf("opening with a key that came late: %v", err)
	}
}

func TestSeeds(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	same, err := seal.ParseSeed(key.Seed())
	if err != nil || same.ID() != key.ID() {
		t.Errorf("the seed gives %v, %v, want the key %s", same, err, key.ID())
	}
	for _, text := range []string{"", canary, key.ID(), key.Seed().Reveal()[:57]} {
		if _, err := seal.ParseSeed(secret.New(text)); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("the error is %v, want one that repeats nothing", err)
		}
	}
	for _, form := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(form, key); strings.Contains(text, key.Seed().Reveal()) {
			t.Errorf("printed with %s, the key shows its seed", form)
		}
	}
}

func TestDerive(t *testing.T) {
	t.Parallel()
	derive := func(text, context string) string {
		key, err := seal.Derive(secret.New(text), context)
		if err != nil {
			t.Fatal(err)
		}
		return key.ID()
	}
	// Values that are sealed to it are in streams for weeks: it must never change.
	if got, want := derive("mdb_sa_sk_example", "account a"), wantDerived; got != want {
		t.Errorf("derived %s, want %s", got, want)
	}
	if derive("mdb_sa_sk_example", "account a") == derive("mdb_sa_sk_example", "account b") ||
		derive("mdb_sa_sk_example", "account a") == derive("mdb_sa_sk_examplf", "account a") {
		t.Error("different accounts have the same key")
	}
	if _, err := seal.Derive(secret.Value{}, "account a"); err == nil {
		t.Error("a key was derived from nothing")
	}
}

const wantDerived = "XAFCHCUB6MPW5GC4IBDDHUU7KPFDXEDSRALKK3IA4DFMVWFKJBWU2FE4"

// TestMarks: a mark is confirmed by the key that made it, also after another one took its place, for the same text and end only.
func TestMarks(t *testing.T) {
	t.Parallel()
	old, next := newKey(t), newKey(t)
	ring := ringOf(t, old)
	mark, err := ring.Mark("event", canary)
	if err != nil || strings.Contains(mark, canary) || strings.Contains(mark, old.Seed().Reveal()) {
		t.Fatalf("mark %s, %v", mark, err)
	}
	keys := []*seal.Key{next}
	rotated, err := seal.NewKeyring(func() ([]*seal.Key, error) { return keys, nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := rotated.Confirm("event", canary, mark); err == nil {
		t.Error("a key of another fleet confirms a mark")
	}
	keys = append(keys, old) // The file has it now: it is read again.
	for _, r := range []*seal.Keyring{ring, rotated} {
		if err := r.Confirm("event", canary, mark); err != nil {
			t.Error(err)
		}
	}
	id, sum, _ := strings.Cut(mark, ".")
	for name, wrong := range map[string][3]string{
		"another text": {"event", canary + "x", mark}, "another end": {"leaks", canary, mark}, "another key": {"event", canary, next.ID() + "." + sum},
		"no sum": {"event", canary, id + "."}, "no key": {"event", canary, "." + sum}, "cut": {"event", canary, mark[:len(mark)-1]}, "nothing": {"event", canary, ""},
	} {
		if err := rotated.Confirm(wrong[0], wrong[1], wrong[2]); err == nil {
			t.Errorf("%s: confirmed", name)
		}
	}
	if mark, err := ringOf(t).Mark("event", canary); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("without a key: %s, %v", mark, err)
	}
}
