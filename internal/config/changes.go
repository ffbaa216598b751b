package config

import (
	"reflect"
	"strings"
)

// IsReloaded reports whether a running worker takes over a change of the key. All others need a restart.
func IsReloaded(key string) bool {
	t := reflect.TypeFor[Config]()
	for part := range strings.SplitSeq(key, ".") {
		if t.Kind() != reflect.Struct {
			return false
		}
		f, ok := fieldOf(t, part)
		switch {
		case !ok:
			return false
		case f.Tag.Get("reload") == "live":
			return true
		}
		t = f.Type
	}
	return false
}

// fieldOf is the field of a struct that has a key.
func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for _, f := range fieldsOf(t) {
		if f.key == key {
			return t.Field(f.index), true
		}
	}
	return reflect.StructField{}, false
}

// Changes lists the keys that differ between two configurations, in the order of the file. Lists are named as a whole:
// "schedules", "atlas.accounts".
func Changes(before, after *Config) []string {
	return changes("", reflect.ValueOf(*before), reflect.ValueOf(*after))
}

// memberOf is a member of a map, or the zero value where it has none.
func memberOf(m reflect.Value, key string) reflect.Value {
	if member := m.MapIndex(reflect.ValueOf(key)); member.IsValid() {
		return member
	}
	return reflect.Zero(m.Type().Elem())
}

func changes(path string, before, after reflect.Value) []string {
	if before.Kind() != reflect.Struct {
		if reflect.DeepEqual(before.Interface(), after.Interface()) {
			return nil
		}
		return []string{path}
	}
	var keys []string
	for _, f := range fieldsOf(before.Type()) {
		a, b := before.Field(f.index), after.Field(f.index)
		switch f.part {
		case partNone:
		case partFile:
			a, b = a.FieldByName("File"), b.FieldByName("File")
		case partEnv:
			a, b = a.FieldByName("Env"), b.FieldByName("Env")
		case partInline:
			continue // It is in no file that was accepted.
		case partMember:
			a, b = memberOf(a, f.key), memberOf(b, f.key)
		}
		keys = append(keys, changes(join(path, f.key), a, b)...)
	}
	return keys
}
