package config

import (
	"reflect"

	"rekey/internal/redact"
	"rekey/internal/secret"
)

// tagLines is the value of the tag secret for what may have several lines. The other one is "file".
const tagLines = "lines"

// Secrets are the places of all secrets that the configuration names, in its order. None of them is to be shown, nor
// read as the token of a job.
func (c *Config) Secrets() []redact.Place {
	return placesIn("", reflect.ValueOf(c).Elem(), "", nil)
}

// placesIn adds the places below a value to a list. The tag is that of the field that has the value.
func placesIn(path string, v reflect.Value, tag string, list []redact.Place) []redact.Place {
	if ref, ok := reflect.TypeAssert[secret.Ref](v); ok {
		return placeOf(path, ref, tag, list)
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				list = placesIn(join(path, f.Tag.Get("yaml")), v.Field(i), f.Tag.Get("secret"), list)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			list = placesIn(item(path, i), v.Index(i), tag, list)
		}
	case reflect.String:
		if tag != "" && v.String() != "" {
			list = append(list, redact.Place{Key: path, Ref: secret.Ref{File: v.String()}, Lines: tag == tagLines})
		}
	}
	return list
}

func placeOf(path string, ref secret.Ref, tag string, list []redact.Place) []redact.Place {
	if ref.IsZero() {
		return list
	}
	return append(list, redact.Place{Key: refPath(path, ref), Ref: ref, Lines: tag == tagLines})
}
