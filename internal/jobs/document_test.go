package jobs

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseDocument(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	tests := []struct {
		name string
		data string
		want map[string]any
	}{
		{name: "empty object", data: "{}", want: map[string]any{}},
		{name: "space around", data: " \r\n\t{} \n", want: map[string]any{}},
		{
			name: "every type", data: `{"s":"x","n":1.50,"b":true,"z":null,"a":[1,"y",[],{}],"o":{"k":"v"}}`,
			want: map[string]any{
				"s": "x", "n": json.Number("1.50"), "b": true, "z": nil,
				"a": []any{json.Number("1"), "y", []any{}, map[string]any{}}, "o": map[string]any{"k": "v"},
			},
		},
		{name: "number unchanged", data: `{"n":123456789012345678901234567890}`, want: map[string]any{"n": json.Number("123456789012345678901234567890")}},
		{name: "escapes", data: `{"\u0061":"\u00e9\n\ud83d\ude00"}`, want: map[string]any{"a": "é\n😀"}},
		{name: "names that differ in case", data: `{"a":"1","A":"2"}`, want: map[string]any{"a": "1", "A": "2"}},
		{name: "same name in two objects", data: `{"a":{"b":"1"},"b":"2"}`, want: map[string]any{"a": map[string]any{"b": "1"}, "b": "2"}},
		{name: "empty name", data: `{"":"x"}`, want: map[string]any{"": "x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := ParseDocument([]byte(tt.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, doc.Fields); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := ParseDocument([]byte(deep(maxDepth))); err != nil {
		t.Errorf("%d deep: %v", maxDepth, err)
	}
}

func TestParseDocumentMistakes(t *testing.T) {
	tests := []struct {
		name string
		data string
		want string
	}{
		{name: "nothing", data: "", want: "the payload is empty"},
		{name: "only space", data: " \n\t\r\n", want: "the payload is empty"},
		{name: "too big", data: strings.Repeat(" ", MaxEventBytes+1), want: "the payload has 1048577 bytes; the limit is 1048576"},
		{name: "invalid UTF-8", data: "{\n\"a\":\n\"" + canary + "\xff\"}", want: "line 3: invalid UTF-8 at byte 40"},
		{name: "half a rune at the end", data: "{}\n\xc3", want: "line 2: invalid UTF-8 at byte 3"},
		{name: "surrogate in UTF-8", data: "{\"a\":\"\xed\xa0\x80\"}", want: "line 1: invalid UTF-8 at byte 6"},
		{name: "UTF-16", data: "{\x00}\x00\xff\xfe", want: "line 1: invalid UTF-8 at byte 4"},
		{name: "UTF-16 with a byte order mark", data: "\xff\xfe{\x00}\x00", want: "line 1: is UTF-16; JSON must be UTF-8"},
		{name: "UTF-16, the other way round", data: "\xfe\xff\x00{\x00}", want: "line 1: is UTF-16; JSON must be UTF-8"},
		{name: "behind a byte order mark", data: "\ufeff{x}", want: "line 1: is no JSON (byte 4)"},
		{name: "two byte order marks", data: "\ufeff\ufeff{}", want: "line 1: is no JSON (byte 3)"},
		{name: "nothing but a byte order mark", data: "\ufeff\n", want: "the payload is empty"},
		{name: "shell quotes", data: "'{}'", want: "line 1: is no JSON (byte 0)"},
		{name: "text", data: canary, want: "line 1: is no JSON (byte 0)"},
		{name: "array", data: "\n\n[1,\n2]", want: "line 3: must be a JSON object, not an array"},
		{name: "string", data: `"` + canary + `"`, want: "line 1: must be a JSON object, not a string"},
		{name: "number", data: "17", want: "line 1: must be a JSON object, not a number"},
		{name: "null", data: "\nnull", want: "line 2: must be a JSON object, not null"},
		{name: "boolean", data: "true", want: "line 1: must be a JSON object, not a boolean"},
		{name: "open object", data: "{\n\"a\": 1,\n", want: "line 3: the JSON ends too early"},
		{name: "open array", data: `{"a": [`, want: "line 1: the JSON ends too early"},
		{name: "open string", data: "{\n\"a\": \"" + canary, want: "line 2: the JSON ends too early"},
		{name: "no value", data: "{\n\"a\"", want: "line 2: the JSON ends too early"},
		{name: "no comma", data: "{\"a\": 1\n\"b\": 2}", want: "line 2: is no JSON (byte 8)"},
		{name: "comma at the end", data: "{\"a\": 1,\n}", want: "line 2: is no JSON (byte 9)"},
		{name: "comma at an array's end", data: "{\"a\": [1,\n]}", want: "line 2: is no JSON (byte 10)"},
		{name: "bare word", data: "{\"a\":\n" + canary + "}", want: "line 2: is no JSON (byte 6)"},
		{name: "bare name", data: "{\n" + canary + ": 1}", want: "line 2: is no JSON (byte 2)"},
		{name: "number as name", data: "{1: 1}", want: "line 1: is no JSON (byte 1)"},
		{name: "wrong bracket", data: "{\"a\": [1}", want: "line 1: is no JSON (byte 8)"},
		{name: "newline in a string", data: "{\n\"a\": \"x\n\"}", want: "line 2: is no JSON (byte 7)"},
		{name: "bad escape", data: "{\n\n\"a\": \"" + canary + "\\x\"}", want: "line 3: is no JSON (byte 37)"},
		{name: "leading zero", data: "{\"a\": 01}", want: "line 1: is no JSON (byte 7)"},
		{name: "two objects", data: "{}\n\n{}", want: "line 3: there is text after the JSON object"},
		{name: "text behind", data: "{}\n\n" + canary, want: "line 3: there is text after the JSON object"},
		{name: "bracket behind", data: "{}\n}", want: "line 2: there is text after the JSON object"},
		{name: "member twice", data: "{\"kind\": 1,\n\"kind\": 2}", want: "line 2: kind: is there twice"},
		{name: "member twice below", data: "{\"a\": {\"b\": 1,\n\n\"b\": 2}}", want: "line 3: b: is there twice"},
		{name: "member twice by an escape", data: `{"a": 1, "\u0061": 2}`, want: "line 1: a: is there twice"},
		{
			name: "long member twice", data: `{"` + canary + canary + `": 1, "` + canary + canary + `": 2}`,
			want: "line 1: (a name of 64 bytes): is there twice",
		},
		{
			name: "objects too deep", data: strings.Repeat("{\"a\":\n", maxDepth) + "{}" + strings.Repeat("}", maxDepth),
			want: "line 33: nested more than 32 deep",
		},
		{name: "arrays too deep", data: `{"a":` + strings.Repeat("[", 500_000), want: "line 1: nested more than 32 deep"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := ParseDocument([]byte(tt.data))
			problems := malformed(t, err)
			if len(problems) != 1 || problems[0].Error() != tt.want {
				t.Errorf("mistakes %q, want the one %q", problems, tt.want)
			}
			if doc.Fields != nil {
				t.Errorf("fields of a document that was rejected: %v", doc.Fields)
			}
			mustNotShow(t, "the error", fmt.Sprint(err))
		})
	}
}

func TestDocumentLine(t *testing.T) {
	doc, err := ParseDocument([]byte("\n{\n\"kind\": \"x\", \"params\"\n: {\n\"a\": {\"b\":\n\n1}},\n\"list\": [\n{\"c\": 1}],\n\"data.x\": 1, \"\": {\"y\": 2}\n}"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path string
		want int
	}{
		{path: "kind", want: 3},
		{path: "params", want: 3},
		{path: "params.a", want: 5},
		{path: "params.a.b", want: 5},
		{path: "list", want: 8},
		{path: "list.c", want: 9},
		{path: "data.x", want: 10},
		{path: "", want: 0},
		{path: "y", want: 0},
		{path: "absent", want: 0},
		{path: "params.absent", want: 0},
	}
	for _, tt := range tests {
		if got := doc.Line(tt.path); got != tt.want {
			t.Errorf("Line(%q) = %d, want %d", tt.path, got, tt.want)
		}
	}
}

func TestDocumentMember(t *testing.T) {
	doc, err := ParseDocument([]byte("{\"data\":\n{\"kind\": \"x\",\n\"params\": {\n\"a\": 1}},\n\"datax\": {\"b\": 1}, \"text\": \"" + canary + "\"}"))
	if err != nil {
		t.Fatal(err)
	}
	data := doc.Member("data")
	if err := data.Object("data"); err != nil {
		t.Fatal(err)
	}
	if got, want := [3]int{data.Line("kind"), data.Line("params.a"), data.Line("data")}, [3]int{2, 4, 0}; got != want {
		t.Errorf("lines %v, want %v", got, want)
	}
	wantFields := map[string]any{"kind": "x", "params": map[string]any{"a": json.Number("1")}}
	if diff := cmp.Diff(wantFields, data.Fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{
		"text": "line 5: text: must be a JSON object, not a string", "absent": "absent: must be a JSON object, not null",
	} {
		if err := doc.Member(name).Object(name); err == nil || err.Error() != want {
			t.Errorf("Member(%q): error %v, want %s", name, err, want)
		}
	}
}

// TestParseDocumentCost decodes the payloads that would cost most if work or memory grew
// as the square of their size: they took minutes, or tens of gigabytes.
func TestParseDocumentCost(t *testing.T) {
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "\"%x\":1,", i)
		}
		return b.String()
	}
	long := strings.Repeat("x", 500_000)
	tests := []struct{ name, data string }{
		{name: "many members", data: "{" + members(100_000) + `"last":1}`},
		{name: "long name above many members", data: `{"` + long + `":{` + members(50_000) + `"last":1}}`},
		{name: "long names all the way down", data: strings.Repeat(`{"`+strings.Repeat("y", 30_000)+`":`, maxDepth) + "1" + strings.Repeat("}", maxDepth)},
		{name: "newlines", data: "{" + strings.Repeat("\n", 400_000) + members(50_000) + `"last":1}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if len(tt.data) > MaxEventBytes {
				t.Fatalf("the payload has %d bytes", len(tt.data))
			}
			start := time.Now()
			doc, err := ParseDocument([]byte(tt.data))
			if err != nil {
				t.Fatal(err)
			}
			total := 0
			for path := range doc.lines {
				total += len(path)
			}
			if total > 2*MaxEventBytes {
				t.Errorf("the paths of %d bytes of payload have %d bytes", len(tt.data), total)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("decoding took %s", took)
			}
		})
	}
}
