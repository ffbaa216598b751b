package jobs

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// seeds are payloads from which fuzzing starts.
func seeds(f *testing.F) {
	for _, seed := range []string{
		"", " \n", "{}", "[]", "null", `{"a":1,}`, `{"a":[1,2,{"b":null}]}`, `{"a":1,"a":2}`, `{"":{"":""}}`, "{\n\"a\"\n:\n1e999}",
		"{}\n{}", "\ufeff{}", "{\"a\":\"\xff\"}", `{"a":"\ud800"}`, strings.Repeat(`{"a":`, 40), "{\"a\":\"x\ny\"}",
		`{"kind":"token.revoke","params":{"token":"x"},"lane":"urgent","coalesce":false}`,
		`{"kind":"x509.disable","params":{"project_id":"` + idA + `"},"expires_at":"2026-11-24T03:00:00Z","reason":"r"}`,
		"{\"kind\":\"jwks.revoke\",\n\"params\":{\"federation_id\":7},\n\"account\":null}",
	} {
		f.Add([]byte(seed))
	}
}

// checkMalformed holds what every error about a payload has to hold: it consists of
// *Malformed, its lines are lines of the payload, and it is text that can be shown.
func checkMalformed(t *testing.T, data []byte, err error) {
	t.Helper()
	lines := 1 + bytes.Count(data, []byte{'\n'})
	for _, m := range malformed(t, err) {
		if m.Line < 0 || m.Line > lines {
			t.Errorf("line %d of %d lines: %v", m.Line, lines, m)
		}
		if m.Detail == "" {
			t.Errorf("a mistake without detail: %+v", m)
		}
	}
	if text := err.Error(); !utf8.ValidString(text) || len(text) > 1000+300*lines+20*len(data) {
		t.Errorf("an error of %d bytes: %q", len(text), text)
	}
}

func FuzzParseDocument(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := ParseDocument(data)
		if err != nil {
			checkMalformed(t, data, err)
			return
		}
		data = bytes.TrimPrefix(data, []byte(markUTF8))
		if !json.Valid(data) || !utf8.Valid(data) {
			t.Errorf("%q is a document and no JSON", data)
		}
		lines := 1 + bytes.Count(data, []byte{'\n'})
		for path, line := range doc.lines {
			if line < 1 || line > lines {
				t.Errorf("member %q is on line %d of %d", path, line, lines)
			}
		}
		var plain map[string]json.RawMessage
		if err := json.Unmarshal(data, &plain); err != nil || len(plain) != len(doc.Fields) {
			t.Errorf("%d members, encoding/json finds %d (%v)", len(doc.Fields), len(plain), err)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := ParseDocument(data)
		if err != nil {
			return
		}
		req, err := ParseRequest(doc)
		if err != nil {
			checkMalformed(t, data, err)
			return
		}
		if _, err := ParseKind(string(req.Kind)); err != nil {
			t.Errorf("kind %q: %v", req.Kind, err)
		}
		if Target(req.Kind, req.Params) == "" {
			t.Errorf("a request without target: %+v", req)
		}
		// What is accepted must reach the ledger and come back.
		text, err := json.Marshal(NewRecord(newJob(Event{Request: req}, "security")))
		if err != nil {
			t.Errorf("the record cannot be encoded: %v", err)
		}
		var back Record
		if err := json.Unmarshal(text, &back); err != nil || !back.ExpiresAt.Equal(req.ExpiresAt) {
			t.Errorf("the record came back with expires_at %s, want %s (%v)", back.ExpiresAt, req.ExpiresAt, err)
		}
	})
}

// FuzzSecretStaysHidden plants a secret as the value of every member that the fuzzer
// makes up and looks for it in all that can be shown.
func FuzzSecretStaysHidden(f *testing.F) {
	f.Add("token", "token.revoke", "urgent", " ")
	f.Add("token_file", "token.revoke", "", "\x00")
	f.Add("federation_id", "jwks.revoke", "bulk", "")
	f.Add("é\n", "x", "normal", "}")
	f.Fuzz(func(t *testing.T, name, kind, lane, around string) {
		if strings.Contains(name+around, canary) {
			t.Skip("a name is shown")
		}
		for _, value := range []any{canary, around + canary, canary + around, []any{canary}, map[string]any{"v": canary}} {
			members := map[string]any{"kind": kind, "lane": lane, "params": map[string]any{name: value}}
			if name != "params" && name != "kind" {
				members[name] = value
			}
			data, err := json.Marshal(members)
			if err != nil {
				t.Fatal(err)
			}
			mustHide(t, data)
			mustHide(t, append(data, around...))
			mustHide(t, []byte(around+canary+around))
		}
	})
}

func mustHide(t *testing.T, data []byte) {
	t.Helper()
	doc, err := ParseDocument(data)
	var req Request
	if err == nil {
		req, err = ParseRequest(doc)
	}
	if err != nil {
		checkMalformed(t, data, err)
		mustNotShow(t, "the error", err.Error())
		return
	}
	// A path is no secret, and neither are the free texts.
	if req.Params.Get("token_file") != "" {
		return
	}
	mustNotShow(t, "the parameters", req.Params.String()+Target(req.Kind, req.Params))
}
