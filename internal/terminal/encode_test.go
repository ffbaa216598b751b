package terminal

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

func TestEncode(t *testing.T) {
	t.Parallel()
	type one struct {
		ID   string   `json:"id"`
		N    float64  `json:"n"`
		List []string `json:"list"`
	}
	list := []one{{"true", 1, []string{"<a>", "12", "2026-11-24", "null", "a: b", "x\ny"}}, {"", 2.5, []string{}}}
	tests := []struct {
		form  Form
		value any
		want  string
	}{
		{FormJSONL, list, `{"id":"true","n":1,"list":["<a>","12","2026-11-24","null","a: b","x\ny"]}` + "\n" + `{"id":"","n":2.5,"list":[]}` + "\n"},
		{FormJSONL, list[1], `{"id":"","n":2.5,"list":[]}` + "\n"},
		{FormJSONL, []one{}, ""},
		{FormJSON, list[1], "{\n  \"id\": \"\",\n  \"n\": 2.5,\n  \"list\": []\n}\n"},
	}
	for _, tt := range tests {
		var out strings.Builder
		if err := Encode(&out, tt.form, tt.value); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.form, diff)
		}
	}
	var out strings.Builder
	if err := Encode(&out, FormYAML, list); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "- id: \"true\"\n  n: 1\n  list:\n    - <a>\n") {
		t.Errorf("as YAML:\n%s", out.String())
	}
	var back []map[string]any
	if err := yaml.Unmarshal([]byte(out.String()), &back); err != nil {
		t.Fatal(err)
	}
	want := []any{"<a>", "12", "2026-11-24", "null", "a: b", "x\ny"}
	if diff := cmp.Diff(want, back[0]["list"]); diff != "" || back[0]["id"] != "true" || back[1]["id"] != "" {
		t.Errorf("the YAML is read as %v:\n%s", back, diff)
	}
}

// TestEncodedTextSteersNoTerminal: what is not printable is escaped in all forms, and read as what it was.
func TestEncodedTextSteersNoTerminal(t *testing.T) {
	t.Parallel()
	hostile := map[string]string{"a\u009b31m": "b\u202ec\u001b[2J\u2028 é 😀 \U000e0041", "plain": "yes"}
	for _, form := range []Form{FormJSON, FormJSONL, FormYAML} {
		var out strings.Builder
		if err := Encode(&out, form, hostile); err != nil {
			t.Fatal(err)
		}
		for _, r := range out.String() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%s: %U is in %q", form, r, out.String())
			}
		}
		got := map[string]string{}
		if err := yaml.Unmarshal([]byte(out.String()), &got); form == FormYAML && (err != nil || !maps.Equal(got, hostile)) {
			t.Errorf("%s is read as %q: %v", form, got, err)
		}
		got = map[string]string{}
		if err := json.Unmarshal([]byte(out.String()), &got); form != FormYAML && (err != nil || !maps.Equal(got, hostile)) {
			t.Errorf("%s is read as %q: %v", form, got, err)
		}
	}
}
