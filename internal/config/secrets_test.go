package config_test

import (
	"reflect"
	"strings"
	"testing"

	"rekey/internal/config"
	"rekey/internal/secret"
)

// Every place that a configuration can give a secret is found, those that are added one day included: what is found is
// hidden in what others answer, is given to no event, and is looked at by the doctor.
func TestEveryPlaceOfASecretIsFound(t *testing.T) {
	t.Parallel()
	c := config.Default()
	var want []string
	eachPlace("", reflect.ValueOf(c).Elem(), func(path string, set func(file string)) {
		set("/run/secrets/" + path)
		want = append(want, path)
	})
	got := map[string]bool{}
	for _, place := range c.Secrets() {
		if place.Ref.File != "/run/secrets/"+strings.TrimSuffix(place.Key, "_file") {
			t.Errorf("%s is %s", place.Key, place.Ref)
		}
		got[strings.TrimSuffix(place.Key, "_file")] = true
		lines := strings.HasSuffix(place.Key, ".key_file") && !strings.HasPrefix(place.Key, "receivers") || strings.HasSuffix(place.Key, "credentials_file") || strings.HasSuffix(place.Key, "signing_secret_file") || strings.HasPrefix(place.Key, "api.clients") || strings.HasPrefix(place.Key, "api.doors") && !strings.HasSuffix(place.Key, "stream_token_file")
		if place.Lines != lines {
			t.Errorf("%s: several lines are %v", place.Key, place.Lines)
		}
	}
	for _, path := range want {
		if !got[path] {
			t.Errorf("%s is not found: its field needs the tag secret", path)
		}
	}
	if len(got) != len(want) || len(want) < 15 {
		t.Errorf("%d places are found of %d", len(got), len(want))
	}
	if list := config.Default().Secrets(); len(list) > 0 {
		t.Errorf("of nothing, %v is found", list)
	}
}

// public are files that hold no secret.
var public = map[string]bool{"ca_file": true, "cert_file": true, "client_ca_file": true, "jwks_file": true}

// eachPlace calls yield with every key below a value that names a file with a secret, by its path without _file, and gives
// each list an element for it.
func eachPlace(path string, v reflect.Value, yield func(string, func(file string))) {
	if ref, ok := reflect.TypeAssert[*secret.Ref](v.Addr()); ok {
		yield(path, func(file string) { *ref = secret.Ref{File: file} })
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			key := v.Type().Field(i).Tag.Get("yaml")
			below := strings.TrimPrefix(path+"."+key, ".")
			if f := v.Field(i); f.Kind() == reflect.String && strings.HasSuffix(key, "_file") && !public[key] {
				yield(strings.TrimSuffix(below, "_file"), f.SetString)
				continue
			}
			eachPlace(below, v.Field(i), yield)
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		eachPlace(path+"[0]", v.Index(0), yield)
	}
}
