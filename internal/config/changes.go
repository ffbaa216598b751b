package config

import "reflect"

// Changes lists the keys that differ between two configurations, in the order of the file. Lists are named as a whole:
// "schedules", "atlas.accounts".
func Changes(before, after *Config) []string {
	return changes("", reflect.ValueOf(*before), reflect.ValueOf(*after))
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
		}
		keys = append(keys, changes(join(path, f.key), a, b)...)
	}
	return keys
}
