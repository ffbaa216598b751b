package config

import (
	"fmt"
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

// Setting is a key with its value, as the file would have it. A secret is not there, but where it is kept.
type Setting struct {
	Key     string
	Value   string
	Default bool // The value is that of an empty file.
}

// Settings lists what a configuration says, in the order of the file. Members of lists have their number in the key.
func Settings(c *Config) []Setting {
	var list []Setting
	settings("", reflect.ValueOf(*c), func(key string, value any) { list = append(list, Setting{Key: key, Value: fmt.Sprint(value)}) })
	defaults := map[string]string{}
	settings("", reflect.ValueOf(*Default()), func(key string, value any) { defaults[key] = fmt.Sprint(value) })
	for i := range list {
		value, ok := defaults[list[i].Key]
		list[i].Default = ok && value == list[i].Value
	}
	return list
}

// settings calls found for each key below a value.
func settings(path string, v reflect.Value, found func(key string, value any)) {
	switch {
	case v.Type() == refType:
		for part, name := range map[part]string{partFile: "File", partEnv: "Env"} {
			if text := v.FieldByName(name).String(); text != "" {
				found(path+string(part), text)
			}
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if key := v.Type().Field(i).Tag.Get("yaml"); key != "" && v.Type().Field(i).IsExported() {
				settings(join(path, strings.TrimSuffix(key, ",inline")), v.Field(i), found)
			}
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			settings(item(path, i), v.Index(i), found)
		}
	case v.Kind() == reflect.Pointer && v.IsNil():
	case v.Kind() == reflect.Pointer:
		settings(path, v.Elem(), found)
	default:
		found(path, v.Interface())
	}
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
