package redact_test

import (
	"encoding/json"
	"strings"
	"testing"

	"rekey/internal/credential"
	"rekey/internal/redact"
)

// What is found is a part of the text, in order; what is left of JSON is JSON; and nothing is found in what was put there.
func FuzzFind(f *testing.F) {
	for _, seed := range []string{
		"", jwt, pem, "mongodb+srv://app:p@ss/w@h,x://y:z@w", "yhltsukm:" + pair, "private key: " + pair, "Authorization: Basic dTpwYXNzd29yZA==",
		`token=abc\"def`, "%3A%2F%2Fu%3Ap%40h", "rekey-seal.v1.X", "[redacted sha256:0f1e2d3c4b5a]", "-----BEGIN PRIVATE KEY-----\\", "private key&0000-0000-0000-0000-000000000000", "AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
	} {
		f.Add(seed)
	}
	const mark = "[redacted sha256:0f1e2d3c4b5a]"
	put := func(string) string { return mark }
	f.Fuzz(func(t *testing.T, text string) {
		at := 0
		for _, span := range redact.Find(text) {
			if span.From < at || span.To <= span.From || span.To > len(text) {
				t.Fatalf("%q: %v behind %d", text, span, at)
			}
			at = span.To
		}
		document, err := json.Marshal(map[string]string{"a": text, "b": text})
		if err != nil {
			t.Skip()
		}
		if clean := redact.Replace(string(document), put); !json.Valid([]byte(clean)) {
			t.Errorf("%s became %s", document, clean)
		}
		if redact.Certain(text) && len(redact.Find(text)) == 0 {
			t.Errorf("%q: certain of nothing", text)
		}
	})
}

func FuzzCheckToken(f *testing.F) {
	for _, seed := range []string{"", jwt, pem, opaque, "mdb_sa_sk_x", "REDACTED", "\xff", "\ufeffx", "eyJ..", "<x>", `{"a":1}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		said := credential.CheckToken(text)
		if said == "" && (credential.CheckVisible(text) != "" || len(text) > credential.MaxTokenBytes || credential.Identify(text).What != "") {
			t.Errorf("%q is a token", text)
		}
		if len(text) > 20 && strings.Contains(said, text) {
			t.Errorf("%q is repeated: %s", text, said)
		}
	})
}
