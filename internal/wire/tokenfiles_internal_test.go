package wire

import (
	"reflect"
	"testing"

	"rekey/internal/config"
	"rekey/internal/secret"
)

// Every secret that the configuration can name by a file is one that no event may have read, those
// that are added to it one day included.
func TestNoOwnSecretIsReadAsAToken(t *testing.T) {
	t.Parallel()
	c := config.Default()
	env := func(name string) (string, bool) {
		return "/run/aws/token", name == "AWS_WEB_IDENTITY_TOKEN_FILE"
	}
	for _, given := range []string{"/var/run/secrets/kubernetes.io/serviceaccount/token", "/run/aws/token"} {
		if MayRead(c, given, env) == nil {
			t.Errorf("an event may have %s read", given)
		}
	}
	if err := MayRead(c, "/run/secrets/leaked", env); err != nil {
		t.Error(err)
	}
	n := 0
	eachSecret("", reflect.ValueOf(c).Elem(), func(path string, ref *secret.Ref) {
		n++
		*ref = secret.Ref{File: "/run/secrets/own"}
		if MayRead(c, ref.File, env) == nil {
			t.Errorf("%s: an event may have its file read", path)
		}
		*ref = secret.Ref{}
	})
	if n < 8 {
		t.Errorf("%d secrets were found in the configuration, want all of them", n)
	}
}

// eachSecret calls yield with every secret.Ref below a value, and gives each list an element for it.
func eachSecret(path string, v reflect.Value, yield func(string, *secret.Ref)) {
	if ref, ok := reflect.TypeAssert[*secret.Ref](v.Addr()); ok {
		yield(path, ref)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			eachSecret(path+"."+v.Type().Field(i).Name, v.Field(i), yield)
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			eachSecret(path, v.Index(i), yield)
		}
	}
}
