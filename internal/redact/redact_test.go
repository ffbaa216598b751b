package redact

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// webToken is a JSON Web Token by its look.
const webToken = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"

// escaped is the canary with every third character as an escape of JSON.
func escaped(text string) string {
	var b strings.Builder
	for i, r := range text {
		if i%3 == 0 {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func TestRedactTakesOut(t *testing.T) {
	t.Parallel()
	const quoted = `s3"cr\3t-` + "\t" + `CANARY`
	quotedJSON, err := json.Marshal(quoted)
	if err != nil {
		t.Fatal(err)
	}
	in := func(format string) string { return strings.ReplaceAll(format, "CANARY", canary) }
	tests := []struct {
		name   string
		data   string
		secret string // What must be gone; the canary by default.
		want   string // The whole result, where the test says.
	}{
		{
			name: "token in params", data: in(`{"kind":"token.revoke", "params":{"token":"CANARY"}, "lane":"fast"}`),
			want: `{"kind":"token.revoke", "params":{"token":"` + MarkText(canary) + `"}, "lane":"fast"}`,
		},
		{name: "mistyped name", data: in(`{"params":{"tokn":"CANARY"}}`), want: `{"params":{"tokn":"` + MarkText(canary) + `"}}`},
		{name: "mistyped params", data: in(`{"Parameters":{"tokn":"CANARY"}}`)},
		{name: "params is the token", data: in(`{"params":"CANARY"}`)},
		{name: "params is a list", data: in(`{"params":["CANARY",{"a":["CANARY"]}]}`)},
		{name: "token beside params", data: in(`{"token":"CANARY","params":{}}`)},
		{name: "client secret", data: in(`{"a":{"b":[{"client_secret":"CANARY"}]}}`)},
		{name: "private key", data: in(`{"privateKey":"CANARY"}`)},
		{name: "object below a secret name", data: in(`{"credentials":{"x":{"y":["CANARY"]}}}`)},
		{name: "list below a secret name", data: in(`{"tokens":["CANARY","CANARY"]}`)},
		{name: "number", data: `{"password":12345678}`, secret: "12345678", want: `{"password":"` + MarkText("12345678") + `"}`},
		{name: "number again elsewhere", data: `{"password":12345678,"reason":"it is 12345678"}`, secret: "12345678"},
		{name: "CloudEvent", data: in(structured(append(envelope("1", "/s"), `"data":{"params":{"token":"CANARY"}}`)...))},
		{name: "token in a file's place", data: in(`{"params":{"token_file":"CANARY"}}`)},
		{name: "name of a parameter", data: `{"params":{"` + webToken + `":"x"}}`, secret: webToken},
		{name: "unlikely name of a parameter", data: in(`{"params":{"my CANARY":1}}`)},
		{name: "member that is there twice", data: in(`{"params":{"token":"CANARY"},"params":{"token":"x"},"params":{}}`)},
		{name: "twice in one object", data: in(`{"token":"CANARY","token":"other1"}`)},

		{name: "again in reason", data: in(`{"params":{"token":"CANARY"},"reason":"revoke CANARY now"}`), want: in(`{"params":{"token":"` + MarkText(canary) + `"},"reason":"revoke ` + MarkText(canary) + ` now"}`)},
		{name: "before in reason", data: in(`{"reason":"CANARY","params":{"token":"CANARY"}}`)},
		{name: "again as a name", data: in(`{"params":{"token":"CANARY"},"CANARY":1}`)},
		{name: "again, escaped", data: `{"params":{"token":"` + canary + `"},"reason":"x` + escaped(canary) + `"}`},
		{name: "escaped, again plain", data: `{"params":{"token":"` + escaped(canary) + `"},"reason":"` + canary + `"}`},
		{name: "quotes and escapes", data: `{"params":{"token":` + string(quotedJSON) + `},"reason":` + string(quotedJSON) + `}`, secret: "CANARY"},
		{name: "one secret is a part of the other", data: in(`{"params":{"a":"s3cr3t-CANARY-0f","token":"s3cr3t"},"reason":"s3cr3t-CANARY-0f"}`), secret: "CANARY-0f"},

		{name: "JWT anywhere", data: `{"reason":"see ` + webToken + `."}`, secret: webToken},
		{name: "JWT, escaped", data: `{"reason":"` + escaped(webToken) + `"}`, secret: webToken},
		{name: "secret of a service account", data: `{"reason":"mdb_sa_sk_AbC-123_x"}`, secret: "mdb_sa_sk_AbC"},
		{name: "secret of a service account, escaped", data: `{"reason":"\u006ddb_sa_sk_AbC"}`, secret: "mdb_sa_sk_AbC"},
		{name: "secret of a service account as a name", data: `{"mdb_sa_sk_AbC":1}`, secret: "mdb_sa_sk_AbC"},

		{name: "password in a URL", data: `{"reason":"mongodb+srv://app:s3cr3tpw@cluster0.example.net/db"}`, secret: "s3cr3tpw", want: `{"reason":"mongodb+srv://app:` + MarkText("s3cr3tpw") + `@cluster0.example.net/db"}`},
		{name: "password in a URL, escaped slashes", data: `{"alert":{"match":"https:\/\/app:s3cr3tpw@host\/x"}}`, secret: "s3cr3tpw"},
		{name: "password in a URL as a name", data: `{"amqp://app:s3cr3tpw@host":1}`, secret: "s3cr3tpw"},
		{name: "password in a URL in text", data: "found postgres://app:s3cr3tpw@host", secret: "s3cr3tpw"},
		{name: "password in a URL in base64", data: `{"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(`{"uri":"redis://:s3cr3tpw@host"}`)) + `"}`, secret: "s3cr3tpw"},
		{name: "private key behind its public key", data: `{"alert":{"match":"yhltsukm:0f1e2d3c-4b5a-4678-9abc-def012345678"}}`, secret: "4b5a-4678"},
		{name: "private key beside its public key", data: `{"publicKey":"yhltsukm","private":{"key":"x"},"privateKey":"0f1e2d3c-4b5a-4678-9abc-def012345678"}`, secret: "4b5a-4678"},
		{name: "PEM", data: `{"match":"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----"}`, secret: "MC4CAQAwBQYDK2Vw"},
		{name: "another vendor's token", data: `{"match":"ghp_0123456789abcdefABCDEF0123456789abcd"}`, secret: "ghp_0123456789"},
		{name: "header in a field", data: `{"request":"GET / Authorization: Basic dXNlcjpwYXNzd29yZA=="}`, secret: "dXNlcjpwYXNz"},
		{name: "query", data: `{"url":"https://host/x?access_token=s3cr3tpw1&a=b"}`, secret: "s3cr3tpw1"},
		{name: "JSON in a string", data: in(`{"data":"{\"params\":{\"token\":\"CANARY\"}}"}`)},
		{name: "JSON in a string, twice", data: `"` + strings.ReplaceAll(strings.ReplaceAll(in(`{"data":"{\"token\":\"CANARY\"}"}`), `\`, `\\`), `"`, `\"`) + `"`},
		{name: "base64", data: `{"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(in(`{"params":{"token":"CANARY"}}`))) + `"}`},
		{name: "bad base64", data: in(`{"data_base64":"{CANARY}"}`)},

		{name: "cut off in the token", data: in(`{"kind":"token.revoke","params":{"token":"CANARY`)},
		{name: "cut off in a mistyped token", data: in(`{"kind":"token.revoke","params":{"tokn":"CANARY`), want: `{"kind":"token.revoke","params":{"tokn""[redacted]"`},
		{name: "cut off behind the token", data: in(`{"params":{"tokn":"CANARY"},"reason":"CANARY beg`)},
		{name: "cut off, with the token in reason", data: in(`{"reason":"CANARY","params":{"token":"CANARY"`)},
		{name: "comma missing", data: in(`{"kind":"token.revoke" "params":{"tokn":"CANARY"}}`)},
		{name: "single quotes", data: in(`{'params': {'tokn': 'CANARY'}}`)},
		{name: "single quotes and a name", data: in(`{'token': 'CANARY'}`)},
		{name: "no quotes", data: in(`{kind: token.revoke, token: CANARY}`)},
		{name: "JSON in text", data: in(`alert: "{\"token\":\"CANARY\"}"`)},
		{name: "two documents", data: in(`{"kind":"x"}{"params":{"tokn":"CANARY"}}`)},
		{name: "name without a colon", data: in(`"token" = "CANARY"`)},
		{name: "text", data: in(`token=CANARY`), want: "token=[redacted]"},
		{name: "form", data: in(`a=b&token=CANARY&token_type_hint=access_token`)},
		{name: "header", data: in("Authorization: Bearer CANARY\nHost: x")},
		{name: "upper case", data: in("API_KEY: CANARY")},
		{name: "text with the secret again", data: in("password: CANARY, and again CANARY.")},
		{name: "text with a JWT", data: "hello " + webToken + "!", secret: webToken},
		{name: "YAML", data: in("kind: token.revoke\nparams:\n  tokn: CANARY\n")},
		{name: "invalid UTF-8 around", data: "{\"reason\":\"\xff\",\"params\":{\"token\":\"" + canary + "\"}}"},
		{name: "invalid UTF-8 inside", data: "{\"params\":{\"token\":\"\xff" + canary + "\"}}"},
		{name: "too deep to follow", data: strings.Repeat("[", 2000) + in(`{"params":{"tokn":"CANARY"}}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			clean, redacted := Payload([]byte(tt.data))
			if !redacted {
				t.Error("nothing was reported")
			}
			secret := tt.secret
			if secret == "" {
				secret = canary
			}
			if hides(string(clean), secret) {
				t.Errorf("%s is still there: %s", secret, clean)
			}
			if tt.want != "" && string(clean) != tt.want {
				t.Errorf("got  %s\nwant %s", clean, tt.want)
			}
			if json.Valid([]byte(tt.data)) && !json.Valid(clean) {
				t.Errorf("JSON became something else: %s", clean)
			}
			if again, redacted := Payload(clean); redacted {
				t.Errorf("redacting twice changes more:\n%s\n%s", clean, again)
			}
		})
	}
}

// hides reports whether a text holds the secret: plain, in its strings, or in base64.
func hides(text, secret string) bool {
	if strings.Contains(text, secret) {
		return true
	}
	var found func(v any) bool
	found = func(v any) bool {
		switch v := v.(type) {
		case string:
			if strings.Contains(v, secret) {
				return true
			}
			inner, err := base64.StdEncoding.DecodeString(v)
			return err == nil && strings.Contains(string(inner), secret) || strings.HasPrefix(v, "{") && hides(v, secret)
		case []any:
			return slices.ContainsFunc(v, found)
		case map[string]any:
			for name, inner := range v {
				if found(name) || found(inner) {
					return true
				}
			}
		}
		return false
	}
	var tree any
	return json.Unmarshal([]byte(text), &tree) == nil && found(tree)
}

func TestRedactLeavesAlone(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, data string }{
		{"nothing", ""},
		{"empty object", "{}"},
		{"request", plain},
		{"odd white space and numbers", "{ \"a\" :\t1.50e3 ,\n\"b\":[ 1,2 , null, true ] }\n"},
		{"ids in params", `{"params":{"federation_id":"` + hexA + `","identity_provider_id":"` + strings.ToUpper(hexB) + `"}}`},
		{"mistyped id", `{"params":{"project_id":"0123-abc","n":24}}`},
		{"UUID", `{"params":{"project_id":"123e4567-e89b-12d3-a456-426614174000"}}`},
		{"ids of an incident", `{"incident":"550e8400-e29b-41d4-a716-446655440000","url":"https://siem.example.com:8443/i/5ec0000000000000000000f1?x=a@b"}`},
		{"token file", `{"kind":"token.revoke","params":{"token_file":"/run/secrets/leaked"}}`},
		{"secret file", `{"client_secret_file":"/run/secrets/security"}`},
		{"token file in text", "token_file: /run/secrets/leaked"},
		{"empty token", `{"params":{"token":""}}`},
		{"token is null or boolean", `{"token":null,"secret":false}`},
		{"reason", `{"reason":"Revoke token: IR-4711 <b>&amp;\u0041"}`},
		{"CloudEvent", structured(append(envelope("1", "/s"), `"data":`+plain)...)},
		{"base64", `{"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(plain)) + `"}`},
		{"JSON in a string", `{"data":"{\"kind\":\"x509.disable\"}"}`},
		{"members twice", `{"a":1,"a":2}`},
		{"cut off", `{"kind":"x509.disable","lane":`},
		{"text", "the incident IR-4711 is over\r\n"},
		{"invalid UTF-8", "\xff\xfe{"},
		{"marks of an earlier round", `{"params":{"token":"` + MarkText(canary) + `"},"reason":"` + MarkText(canary) + ` again"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			clean, redacted := Payload([]byte(tt.data))
			if redacted || string(clean) != tt.data {
				t.Errorf("redacted %v\ngot  %s\nwant %s", redacted, clean, tt.data)
			}
		})
	}
}

// An event can be made to be dear to redact. None may hold up the intake of the others.
func TestRedactIsBounded(t *testing.T) {
	t.Parallel()
	fill := func(format string, size int) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	// Every part of a mark as a secret: what is put in must not be searched again.
	var parts strings.Builder
	for text := MarkText(canary); len(text) >= redactShortest; text = text[1:] {
		for end := redactShortest; end <= len(text); end++ {
			if strings.Count(parts.String(), ",") < 50 {
				fmt.Fprintf(&parts, `"p%d-%d":%q,`, len(text), end, text[:end])
			}
		}
	}
	const size = 200_000 // Less than an event may have, for the sake of the race detector.
	tests := []struct{ name, data string }{
		{"many secrets", `{"token":[` + fill(`"secret-%d",`, size) + `"secret"]}`},
		{"many short secrets", `{"token":[` + fill(`"%d",`, size) + `"x"]}`},
		{"parts of marks", `{"params":{` + parts.String() + `"a":"` + canary + `"},"reason":"` + strings.Repeat(canary, 100) + `"}`},
		{"open brackets", strings.Repeat("[", size)},
		{"open objects", strings.Repeat(`{"params":`, size/10)},
		{"JSON in strings", strings.Repeat(`"[`, 1000) + canary + strings.Repeat(`]"`, 1000)},
		{"long name", strings.Repeat("a-_", size/10) + "token=" + strings.Repeat(`\"`, size/10)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			clean, _ := Payload([]byte(tt.data))
			if took := time.Since(start); took > patience {
				t.Errorf("took %s", took)
			}
			if len(clean) > 20*len(tt.data) {
				t.Errorf("grew from %d to %d bytes", len(tt.data), len(clean))
			}
		})
	}
}

// FuzzRedact plants the canary at every place where it is to be recognised, inside an
// event of any other content.
func FuzzRedact(f *testing.F) {
	f.Add(plain, "project_id", 0)
	f.Add(`{"reason":"a \"b\" <c>"}`, "tokn", 40)
	f.Add(`[1,{"token":"x"},"`+webToken+`"]`, "to\"ken", 3)
	f.Add(`"{\"params\":{}}"`, `\u0041`, 1000)
	f.Add("\xff token: abc, param=5", "é", 7)
	f.Add(`{"token_file":"/run/x","data_base64":"e30="}`, "x_file", 90)
	f.Add(MarkText(canary)+` "params":`, "[redacted]", 5)
	f.Fuzz(func(t *testing.T, data, name string, cut int) {
		checkIdempotent(t, []byte(data))
		if strings.Contains(data, canary) || strings.Contains(name, canary) {
			return
		}
		for _, planted := range plantings(data, name) {
			clean := checkIdempotent(t, []byte(planted))
			if hides(string(clean), canary) || hides(string(clean), webToken) {
				t.Errorf("a secret survives\nin   %s\nout  %s", planted, clean)
			}
			// Cut off anywhere, as an event over the limit is, no whole secret survives either.
			cutOff := checkIdempotent(t, []byte(planted[:min(max(cut, 0), len(planted))]))
			if strings.Contains(string(cutOff), canary) {
				t.Errorf("a secret survives the cut at %d\nin   %s\nout  %s", cut, planted, cutOff)
			}
		}
	})
}

// plantings are events with the canary, or the JWT, where it must be recognised.
func plantings(data, name string) []string {
	text := func(s string) string { return string(quoted(s)) }
	member := text(name)
	list := []string{
		`{"params":{"token":"` + canary + `"},"reason":` + text(data) + `,"x":` + text(canary+data) + `}`,
		`{"x":` + text(data) + `,"params":{` + member + `:"` + escaped(canary) + `"}}`,
		`{` + member + `:{"tokens":[[{` + member + `:"` + canary + `"}]]},"reason":"` + canary + `"}`,
		`{` + member + `:` + text(data+" "+webToken) + `}`,
		`{"data":` + text(`{"token":"`+canary+`","x":`+text(data)+`}`) + `}`,
		`token=` + canary + ` ` + strings.ReplaceAll(data, "\n", " "),
	}
	if json.Valid([]byte(data)) && utf8.ValidString(data) {
		list = append(list, `{"x":`+data+`,"secret":"`+canary+`","y":`+data+`}`, `[`+data+`,{"params":["`+canary+`"]}]`)
	}
	return list
}

func checkIdempotent(t *testing.T, data []byte) []byte {
	t.Helper()
	clean, redacted := Payload(data)
	if redacted == (string(clean) == string(data)) {
		t.Errorf("redacted is %v\nin  %s\nout %s", redacted, data, clean)
	}
	if again, changed := Payload(clean); changed {
		t.Errorf("redacting again changes more\nin   %s\nout  %s\nthen %s", data, clean, again)
	}
	return clean
}
