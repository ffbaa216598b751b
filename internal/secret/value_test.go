package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.yaml.in/yaml/v4"

	"rekey/internal/secret"
)

// canary is the text that no output may contain, in no encoding that the printers know.
const canary = "canary-s3cret"

// hidden holds secrets where printers cannot call their methods.
type hidden struct {
	Name    string
	value   secret.Value
	pointer *secret.Value
	list    []secret.Value
	array   [1]secret.Value
	byName  map[string]secret.Value
	asKey   map[secret.Value]string
	any     any
	deeper  struct{ value secret.Value }
	next    *hidden
}

// shown holds secrets in exported fields.
type shown struct {
	Value   secret.Value
	Pointer *secret.Value
	List    []secret.Value
	ByName  map[string]secret.Value
	Any     any
	Hidden  *hidden
	secret.Ref
}

// embeds promotes the methods of a secret.
type embeds struct {
	secret.Value
	Other string
}

// loggable is a log object that adds its secrets in every way that zap offers.
type loggable struct{ value secret.Value }

func (l loggable) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	zap.Any("any", l.value).AddTo(enc)
	zap.Stringer("stringer", l.value).AddTo(enc)
	zap.Any("list", []secret.Value{l.value}).AddTo(enc)
	return enc.AddReflected("reflected", l)
}

// failing is an error that carries a secret.
type failing struct{ value secret.Value }

func (f failing) Error() string { return fmt.Sprintf("calling with %v", f.value) }

func newHidden(v secret.Value) *hidden {
	h := &hidden{
		Name: "hidden", value: v, pointer: &v, list: []secret.Value{v}, array: [1]secret.Value{v},
		byName: map[string]secret.Value{"a": v}, asKey: map[secret.Value]string{v: "a"}, any: v,
	}
	h.deeper.value = v
	h.next = &hidden{Name: "next", value: v, any: &v}
	return h
}

// holders are all the shapes in which a secret travels.
func holders() map[string]any {
	v := secret.New(canary)
	h := newHidden(v)
	return map[string]any{
		"value":          v,
		"pointer":        &v,
		"slice":          []secret.Value{v},
		"array":          [1]secret.Value{v},
		"map":            map[string]secret.Value{"a": v},
		"map of any":     map[string]any{"a": v, "b": []any{&v}},
		"map key":        map[secret.Value]string{v: "a"},
		"hidden":         *h,
		"hidden pointer": h,
		"hidden list":    []*hidden{h},
		"shown":          shown{Value: v, Pointer: &v, List: []secret.Value{v}, ByName: map[string]secret.Value{"a": v}, Any: v, Hidden: h},
		"embedded":       embeds{Value: v},
		"error":          failing{value: v},
		"joined error":   errors.Join(fmt.Errorf("wrapping: %w", &failing{value: v}), fmt.Errorf("showing %v and %+v", v, h)),
		"channel":        make(chan secret.Value),
		"log object":     loggable{value: v},
	}
}

func mustNotShow(t *testing.T, how, output string) {
	t.Helper()
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprint([]byte(canary))} {
		if strings.Contains(output, form) {
			t.Errorf("%s shows the secret: %s", how, output)
		}
	}
}

func TestFmtNeverShowsSecret(t *testing.T) {
	flags := []string{"", "+", "#", "-", " ", "0", "20", ".3", "+#"}
	for name, holder := range holders() {
		t.Run(name, func(t *testing.T) {
			for verb := rune(' '); verb < 0x7f; verb++ {
				for _, flag := range flags {
					format := "%" + flag + string(verb)
					mustNotShow(t, format, fmt.Sprintf(format, holder))
				}
			}
			mustNotShow(t, "Sprint", fmt.Sprint(holder))
			mustNotShow(t, "Sprintln", fmt.Sprintln(holder))
			mustNotShow(t, "Errorf", fmt.Errorf("using %v", holder).Error())
		})
	}
}

func TestEncodersNeverShowSecret(t *testing.T) {
	encoders := []struct {
		name   string
		encode func(any) ([]byte, error)
	}{
		{name: "json", encode: json.Marshal},
		{name: "yaml", encode: yaml.Marshal},
		{name: "yaml dump", encode: func(v any) ([]byte, error) { return yaml.Dump(v) }},
		{name: "xml", encode: xml.Marshal},
		{name: "gob", encode: func(v any) ([]byte, error) {
			var out bytes.Buffer
			err := gob.NewEncoder(&out).Encode(v)
			return out.Bytes(), err
		}},
	}
	for _, tt := range encoders {
		for name, holder := range holders() {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				defer func() {
					// YAML panics on channels: what it says then counts as well.
					if told := recover(); told != nil {
						mustNotShow(t, tt.name+" panic", fmt.Sprint(told))
					}
				}()
				output, err := tt.encode(holder)
				mustNotShow(t, tt.name, string(output))
				if err != nil {
					mustNotShow(t, tt.name+" error", err.Error())
				}
			})
		}
	}
}

func TestLoggersNeverShowSecret(t *testing.T) {
	for name, holder := range holders() {
		t.Run(name, func(t *testing.T) {
			mustNotShow(t, "zap json", zapOutput(t, zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), holder))
			mustNotShow(t, "zap console", zapOutput(t, zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), holder))
			var out bytes.Buffer
			for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
				logger := slog.New(handler)
				logger.Info("holder", "any", holder, slog.Group("group", "any", holder))
				logger.With("with", holder).Info("holder")
			}
			mustNotShow(t, "slog", out.String())
		})
	}
}

func zapOutput(t *testing.T, encoder zapcore.Encoder, holder any) string {
	t.Helper()
	var out bytes.Buffer
	logger := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zap.DebugLevel))
	fields := []zap.Field{zap.Any("any", holder), zap.Reflect("reflect", holder)}
	if object, ok := holder.(zapcore.ObjectMarshaler); ok {
		fields = append(fields, zap.Object("object", object), zap.Inline(object))
	}
	if err, ok := holder.(error); ok {
		fields = append(fields, zap.Error(err))
	}
	logger.Info("holder", fields...)
	logger.With(fields...).Info("holder")
	logger.Sugar().Infow("holder", "any", holder)
	logger.Sugar().Infof("holder %v %+v %#v", holder, holder, holder)
	if out.Len() == 0 {
		t.Fatal("zap wrote nothing")
	}
	return out.String()
}

func TestDiffNeverShowsSecret(t *testing.T) {
	other := newHidden(secret.New("another"))
	everything := cmp.Exporter(func(reflect.Type) bool { return true })
	diff := cmp.Diff(newHidden(secret.New(canary)), other, everything)
	if diff == "" {
		t.Fatal("different secrets do not differ")
	}
	mustNotShow(t, "diff", diff)
}

func TestRedactedForms(t *testing.T) {
	v := secret.New(canary)
	jsonText, jsonErr := json.Marshal(map[string]any{"v": v, "p": &v})
	yamlText, yamlErr := yaml.Marshal(map[string]any{"v": v})
	text, textErr := v.MarshalText()
	if err := errors.Join(jsonErr, yamlErr, textErr); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, got, want string }{
		{name: "String", got: v.String(), want: "[secret]"},
		{name: "GoString", got: v.GoString(), want: "[secret]"},
		{name: "%v", got: fmt.Sprintf("%v", v), want: "[secret]"},
		{name: "%+v in a struct", got: fmt.Sprintf("%+v", struct{ V secret.Value }{v}), want: "{V:[secret]}"},
		{name: "%#v", got: fmt.Sprintf("%#v", v), want: "[secret]"},
		{name: "%q", got: fmt.Sprintf("%q", v), want: "[secret]"},
		{name: "%d", got: fmt.Sprintf("%d", v), want: "[secret]"},
		{name: "zero", got: fmt.Sprint(secret.Value{}), want: "[secret]"},
		{name: "text", got: string(text), want: "[secret]"},
		{name: "json", got: string(jsonText), want: `{"p":"[secret]","v":"[secret]"}`},
		{name: "yaml", got: string(yamlText), want: "v: '[secret]'\n"},
		{name: "slog", got: v.LogValue().String(), want: "[secret]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("got %q, want %q", tt.got, tt.want)
			}
		})
	}
}

func TestValue(t *testing.T) {
	tests := []struct {
		name            string
		value           secret.Value
		wantReveal      string
		wantZero        bool
		wantFingerprint string
	}{
		{name: "zero", wantZero: true},
		{name: "new of nothing", value: secret.New(""), wantZero: true},
		// FIPS 180-4 gives the SHA-256 of "abc": it begins with ba7816bf 8f01cfea.
		{name: "abc", value: secret.New("abc"), wantReveal: "abc", wantFingerprint: "sha256:ba7816bf8f01"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.value.Reveal(); got != tt.wantReveal {
				t.Errorf("Reveal() = %q, want %q", got, tt.wantReveal)
			}
			if got := tt.value.IsZero(); got != tt.wantZero {
				t.Errorf("IsZero() = %v, want %v", got, tt.wantZero)
			}
			if got := tt.value.Fingerprint(); got != tt.wantFingerprint {
				t.Errorf("Fingerprint() = %q, want %q", got, tt.wantFingerprint)
			}
		})
	}
}

func TestEqual(t *testing.T) {
	tests := []struct {
		name string
		a, b secret.Value
		want bool
	}{
		{name: "zeros", want: true},
		{name: "zero and set", b: secret.New("a"), want: false},
		{name: "same text", a: secret.New("a"), b: secret.New("a"), want: true},
		{name: "same length", a: secret.New("a"), b: secret.New("b"), want: false},
		{name: "prefix", a: secret.New("a"), b: secret.New("ab"), want: false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.a.Equal(tt.b); got != tt.want {
				t.Errorf("Equal = %v, want %v", got, tt.want)
			}
			if got := tt.b.Equal(tt.a); got != tt.want {
				t.Errorf("the other way round: Equal = %v, want %v", got, tt.want)
			}
		})
	}
}
