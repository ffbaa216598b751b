package config_test

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"rekey/internal/config"
	"rekey/internal/secret"
)

// The page and the schema are written by a program that reads the types' source (make generate). This walks the types
// themselves, so that a new key is missed here and not by an operator.
func TestEveryKeyIsInTheReference(t *testing.T) {
	for _, name := range []string{"../../docs/configure.md", "../../docs/schema/config.schema.json"} {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keysOf(reflect.TypeFor[config.Config](), map[reflect.Type]bool{}) {
			if text := string(content); !strings.Contains(text, "`"+key+"`") && !strings.Contains(text, `"`+key+`"`) {
				t.Errorf("%s does not have %s: run make generate", name, key)
			}
		}
	}
}

// keysOf lists the keys of a type and of all types in it.
func keysOf(t reflect.Type, seen map[reflect.Type]bool) []string {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || seen[t] || t == reflect.TypeFor[time.Time]() {
		return nil
	}
	seen[t] = true
	var keys []string
	for f := range t.Fields() {
		key := f.Tag.Get("yaml")
		switch {
		case key == "" || key == "-":
		case f.Type == reflect.TypeFor[secret.Ref]():
			keys = append(keys, key+"_file", key+"_env")
		default:
			keys = append(append(keys, key), keysOf(f.Type, seen)...)
		}
	}
	return keys
}
