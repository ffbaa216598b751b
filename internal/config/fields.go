package config

import (
	"fmt"
	"reflect"
	"strings"

	"rekey/internal/lazyregexp"
)

// part is what a key adds to the name of the secret that it is about.
type part string

// The keys of a secret: two that say where it is kept, and the one that must not be used.
const (
	partNone   part = ""
	partFile   part = "_file"
	partEnv    part = "_env"
	partInline part = "inline"
	partMember part = "member" // A key of a map that is beside the keys of its struct.
)

// field is a key that a struct knows.
type field struct {
	key   string
	index int
	part  part // Which half of a secret.Ref; partNone for other fields.
}

// fieldsOf lists the keys of a struct, from the yaml tags. A secret.Ref has three.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("yaml")
		if t.Field(i).Type == rateLimitsType {
			for _, name := range setNames() {
				fields = append(fields, field{key: name, index: i, part: partMember})
			}
			continue
		}
		if t.Field(i).Type != refType {
			fields = append(fields, field{key: key, index: i})
			continue
		}
		fields = append(fields,
			field{key: key + string(partFile), index: i, part: partFile},
			field{key: key + string(partEnv), index: i, part: partEnv},
			field{key: key, index: i, part: partInline})
	}
	return fields
}

// inlineKeys are what people call secrets. Where they are not known either, they get the
// message about secrets instead of the one about unknown keys.
var inlineKeys = lazyregexp.New(`^(client_?secret|private_?key|password|passphrase|token|secret|api_?key|seed|nkey)$`)

// renamed are keys under the names that they had before.
var renamed = map[string]string{"notify": "receivers", "targets": "receivers"}

// unknownKey reports a key that its mapping does not have. The key that was probably meant
// counts as set, so that it is not reported as missing, too.
func (d *decoder) unknownKey(path, key string, fields []field) {
	if now := renamed[join(path, key)]; now != "" {
		d.add(join(path, key), "is called %s now", now)
		d.spoil(join(path, now))
		return
	}
	var known []string
	for _, f := range fields {
		if f.part != partInline {
			known = append(known, f.key)
		}
	}
	meant := closest(key, known)
	message := "unknown key"
	if inlineKeys.MatchString(strings.ToLower(key)) {
		message += "; secrets are never written here, but kept in a file or an environment variable"
	}
	if meant == "" {
		d.add(join(path, showKey(key)), "%s; the keys here are %s", message, strings.Join(known, ", "))
		return
	}
	d.add(join(path, showKey(key)), "%s; did you mean %s?", message, meant)
	if _, placed := d.places[join(path, meant)]; !placed {
		d.spoil(join(path, meant))
	}
}

// plainKey is a key as people write them.
var plainKey = lazyregexp.New(`^[A-Za-z0-9_.-]{1,40}$`)

// showKey returns a key as it may be shown: an operator may have put a secret where a key belongs.
func showKey(key string) string {
	if plainKey.MatchString(key) && !looksSecret(key) {
		return key
	}
	return fmt.Sprintf("(a key of %d bytes)", len(key))
}

// closest returns the known key that was probably meant, "" when none comes near: one that
// differs only in case and separators, one that it is a part of, or one with few typing
// mistakes.
func closest(key string, known []string) string {
	key = simplify(key)
	if len(key) < 2 || len(key) > 40 {
		return ""
	}
	best, bestDistance := "", min(len(key)/3, 3)+1
	for _, candidate := range known {
		simple := simplify(candidate)
		distance := EditDistance(key, simple)
		// A part that is long enough counts as one mistake: secret_file, cert.
		if len(key) >= 4 && strings.Contains(simple, key) {
			distance = min(distance, 1)
		}
		if distance < bestDistance {
			best, bestDistance = candidate, distance
		}
	}
	return best
}

func simplify(key string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(key))
}

// EditDistance is how many characters must be inserted, removed, replaced or swapped with
// their neighbour to make b of a (optimal string alignment).
func EditDistance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
