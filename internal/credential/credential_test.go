package credential_test

import (
	"strings"
	"testing"
	"time"

	"rekey/internal/credential"
)

const (
	header = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9"
	claims = ".eyJzdWIiOiJtZGJfc2FfaWQifQ"
	jwt    = header + claims + ".c2lnbmF0dXJl"
	opaque = "f4k3-0paque.t0ken_of~a+length/that=fits"
	pair   = "3f2a1b4c-5d6e-4f70-8a9b-0c1d2e3f4a5b"
	pem    = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----"
)

// What is known to be something else is no bearer token, however it is written. The texts say what it is, and never
// repeat it.
func TestCheckToken(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		kind       credential.Kind
		want       string // Part of what is said; empty: it can be a token.
	}{
		{"JWT", jwt, credential.JWT, ""},
		{"encrypted JWT", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aXY.Y2lwaGVy.dGFn", credential.JWT, ""},
		{"three parts with another header", "eyJhbGciOi" + jwt[12:], credential.Opaque, ""},
		{"opaque", opaque, credential.Opaque, ""},
		{"opaque, short", "tok-000123", credential.Opaque, ""},
		{"hexadecimal", strings.Repeat("0f1e2d3c", 8), credential.Opaque, ""},
		{"base64", "Zm9vYmFyYmF6cXV4cXV1eGNvcmdlZ3JhdWx0==", credential.Opaque, ""},
		{"at the limit", strings.Repeat("x", credential.MaxTokenBytes), credential.Opaque, ""},
		{"over the limit", strings.Repeat("x", credential.MaxTokenBytes+1), credential.Opaque, "1 to 16384 bytes"},
		{"nothing", "", credential.Placeholder, "1 to 16384 bytes"},

		{"client secret", "mdb_sa_sk_Ab1-_2Cd", credential.ServiceAccountSecret, "is the secret of a service account"},
		{"client secret, upper case", "MDB_SA_SK_AB12CD", credential.ServiceAccountSecret, "is the secret of a service account"},
		{"client id", "mdb_sa_id_0123456789abcdef01234567", credential.ServiceAccountID, "is the id of a service account"},
		{"id and secret of a header", "bWRiX3NhX2lkXzAxMjM6bWRiX3NhX3NrX3g=", credential.Header, "in base64"},
		{"UUID", pair, credential.APIPrivateKey, "is a UUID"},
		{"UUID, upper case", strings.ToUpper(pair), credential.APIPrivateKey, "is a UUID"},
		{"UUID in braces", "{" + pair + "}", credential.APIPrivateKey, "is a UUID"},
		{"API key", "yhltsukm:" + pair, credential.APIKey, "public and private key"},
		{"API key with a comma", "yhltsukm, " + pair, credential.APIKey, "public and private key"},
		{"API key with a space", "yhltsukm " + pair, credential.APIKey, "public and private key"},
		{"public key", "yhltsukm", credential.APIPublicKey, "public key"},
		{"connection string", "mongodb+srv://app:p4ss@cluster0.example.mongodb.net/db?w=1", credential.ConnectionString, "is a connection string with a password"},
		{"connection string without srv", "mongodb://u:p@h1,h2", credential.ConnectionString, "is a connection string"},
		{"connection string without a password", "mongodb://localhost:27017", credential.ConnectionString, "is a connection string"},
		{"any scheme with a password", "postgres://u:p@host/db", credential.ConnectionString, "with a password"},
		{"address", "https://cloud.mongodb.com/v2", credential.URL, "is a URL"},
		{"PEM", pem, credential.PEM, "is a PEM block"},
		{"PEM in one line", strings.ReplaceAll(pem, "\n", `\n`), credential.PEM, "is a PEM block"},
		{"certificate", "-----BEGIN CERTIFICATE-----MII=", credential.PEM, "is a PEM block"},
		{"header", "Authorization: Bearer " + jwt, credential.Header, "is a header Authorization"},
		{"value of a header", "Bearer " + jwt, credential.Header, "behind Bearer alone"},
		{"value of a header, lower case", "bearer\t" + opaque, credential.Header, "behind Bearer alone"},
		{"value of a header, escaped", "Bearer%20" + opaque, credential.Header, "behind Bearer alone"},
		{"Basic", "Basic dTpw", credential.Header, "is a header Authorization"},
		{"answer of the token endpoint", `{"access_token":"` + jwt + `","expires_in":3600}`, credential.JSON, "access_token alone"},
		{"JSON of several lines", "{\n  \"token\": \"x\"\n}", credential.JSON, "is a JSON document"},
		{"list", `["` + jwt + `"]`, credential.JSON, "is a JSON document"},
		{"in quotes", `"` + jwt + `"`, credential.JSON, "in quotes"},
		{"in single quotes", `'` + opaque + `'`, credential.JSON, "in quotes"},
		{"form", "access_token=" + opaque + "&token_type=bearer", credential.Assignment, "the value alone"},
		{"YAML", "token: " + opaque, credential.Header, ""}, // See below.
		{"reference", "vault:rekey/leak#token", credential.Reference, "token_ref"},
		{"path", "/run/secrets/leaked", credential.Reference, "token_file"},
		{"argument for a file", "@token.txt-of-mine", credential.Reference, "token_file"},
		{"sealed value", "rekey-seal.v1.X.y", credential.Sealed, "_sealed"},
		{"fingerprint", "sha256:0f1e2d3c4b5a", credential.Fingerprint, "is a fingerprint"},
		{"mark", "[redacted sha256:0f1e2d3c4b5a]", credential.Fingerprint, "is a fingerprint"},
		{"id", "5ec0000000000000000000a1", credential.AtlasID, "is an id of Atlas"},
		{"address of a person", "someone@example.com", credential.Email, "e-mail"},

		{"REDACTED", "REDACTED", credential.Placeholder, "is a placeholder"},
		{"redacted in brackets", "[REDACTED]", credential.Placeholder, "is a placeholder"},
		{"stars", "***", credential.Placeholder, "is a placeholder"},
		{"many stars", strings.Repeat("*", 40), credential.Placeholder, "is a placeholder"},
		{"masked at the end", "f4k3********", credential.Placeholder, "is a placeholder"},
		{"masked JWT", "eyJh****.****.****", credential.Placeholder, "is a placeholder"},
		{"bullets", "••••••••••", credential.Placeholder, "is a placeholder"},
		{"xxxx", "xxxxxxxxxxxxxxxx", credential.Placeholder, "is a placeholder"},
		{"XXXX", "XXXX", credential.Placeholder, "is a placeholder"},
		{"zeros", "00000000000000000000", credential.Placeholder, "is a placeholder"},
		{"angle brackets", "<token>", credential.Placeholder, "is a placeholder"},
		{"angle brackets, words", "<your-access-token>", credential.Placeholder, "is a placeholder"},
		{"variable", "${TOKEN}", credential.Placeholder, "is a placeholder"},
		{"variable without braces", "$ATLAS_TOKEN", credential.Placeholder, "is a placeholder"},
		{"variable of Windows", "%ATLAS_TOKEN%", credential.Placeholder, "is a placeholder"},
		{"template", "{{ .Values.token }}", credential.Placeholder, "is a placeholder"},
		{"template with single braces", "{access_token}", credential.Placeholder, "is a placeholder"},
		{"changeme", "changeme", credential.Placeholder, "is a placeholder"},
		{"change-me", "CHANGE-ME", credential.Placeholder, "is a placeholder"},
		{"null", "null", credential.Placeholder, "is a placeholder"},
		{"undefined", "undefined", credential.Placeholder, "is a placeholder"},
		{"None", "None", credential.Placeholder, "is a placeholder"},
		{"token", "token", credential.Placeholder, "is a placeholder"},
		{"access_token", "access_token", credential.Placeholder, "is a placeholder"},
		{"your-token-here", "your-token-here", credential.Placeholder, "is a placeholder"},
		{"YOUR_API_TOKEN", "YOUR_API_TOKEN", credential.Placeholder, "is a placeholder"},

		{"JWT without a signature", header + claims, credential.Fragment, "was cut off"},
		{"JWT with an empty signature", header + claims + ".", credential.Fragment, "was cut off"},
		{"header of a JWT", header, credential.Fragment, "was cut off"},
		{"beginning of a JWT", jwt[:12], credential.Fragment, "was cut off"},
		{"JWT without its header", strings.TrimPrefix(jwt, header), credential.Fragment, "was cut off"},
		{"JWT of which a part is missing", header + ".." + "c2lnbmF0dXJl", credential.Fragment, "was cut off"},
		{"JWT with a part too many", jwt + ".x", credential.Fragment, "was cut off"},
		{"cut off with an ellipsis", "f4k3-0paque.t0ken…", credential.Fragment, "was cut off"},
		{"cut off with dots", "eyJhbGciOiJ...nJl", credential.Fragment, "was cut off"},
		{"short", "f4k3", credential.Opaque, "has 4 characters"},

		{"GitHub", "ghp_" + strings.Repeat("a1B2", 9), credential.Foreign, "a GitHub token"},
		{"GitHub, fine-grained", "github_pat_11AAAA", credential.Foreign, "a GitHub token"},
		{"GitLab", "glpat-abcdefghij1234567890", credential.Foreign, "a GitLab token"},
		{"AWS", "AKIAIOSFODNN7EXAMPLE", credential.Foreign, "AWS"},
		{"AI vendor", "sk-proj-abcdefghij1234567890", credential.Foreign, "AI vendor"},
		{"Slack", "xoxb-1234-abcd", credential.Foreign, "a Slack token"},
		{"Stripe", "sk_live_abcdefghij", credential.Foreign, "a Stripe key"},
		{"Vault", "hvs.CAESIabcdefghij1234567890", credential.Foreign, "a Vault token"},
		{"nkey", "SUAM" + strings.Repeat("A2", 27), credential.Foreign, "nkey"},

		{"byte order mark", "\ufeff" + opaque, credential.Opaque, "character 1 is U+FEFF, a byte order mark"},
		{"byte order mark before a JWT", "\ufeff" + jwt, credential.Opaque, "character 1 is U+FEFF"},
		{"zero-width space", opaque[:6] + "\u200b" + opaque[6:], credential.Opaque, "character 7 is U+200B, a zero-width space"},
		{"zero-width space in a JWT", jwt[:6] + "\u200b" + jwt[6:], credential.Opaque, "character 7 is U+200B"},
		{"behind a wide character", "é\u2060" + opaque, credential.Opaque, "character 1 is U+00E9"},
		{"no-break space", opaque + "\u00a0x", credential.Opaque, "is U+00A0, a no-break space"},
		{"space", "f4k3 0paque.t0ken", credential.Opaque, "character 5 is U+0020, a space"},
		{"two lines", opaque + "\n" + opaque, credential.Opaque, "is U+000A, a line feed"},
		{"NUL", "f4k3\x000paque.t0ken", credential.Opaque, "character 5 is U+0000, a NUL"},
		{"no UTF-8", "f4k3\xff0paque.t0ken", credential.Opaque, "character 5 is the byte 0xFF"},
		{"Cyrillic", "f4k3-0p\u0430que.t0ken", credential.Opaque, "character 8 is U+0430"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.name == "YAML" { // It could be a header of that scheme as well: either way it is no token.
				tt.want = "is a header Authorization"
			}
			if got := credential.Identify(tt.text).Kind; got != tt.kind {
				t.Errorf("it is identified as %s, want %s", got, tt.kind)
			}
			got := credential.CheckToken(tt.text)
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("CheckToken says %q, want %q", got, tt.want)
			}
			if len(tt.text) > 12 && strings.Contains(got, tt.text) {
				t.Errorf("what it says repeats the text: %s", got)
			}
		})
	}
}

// What may be shown of a text, and what must not. The hidden part is between « and »; ids that people need stay.
func TestFind(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		unsure     bool // Other things look like it, too.
	}{
		{name: "client secret", text: "found «mdb_sa_sk_Ab-_9.x» there."},
		{name: "client secret in JSON", text: `{"a":"x\n«mdb_sa_sk_Ab9»"}`},
		{name: "JWT", text: "(«" + jwt + "»)"},
		{name: "JWT at the end of a sentence", text: "it is «" + jwt + "»."},
		{name: "part of a JWT", text: "it is «" + header + claims + "»..."},
		{name: "header", text: "curl -H 'Authorization: Bearer «f4k3-0paque.t0ken_9»'"},
		{name: "short header", text: `"Authorization": "Basic «dTpwYXNz»"`},
		{name: "Basic", text: "sent Basic «bWRiX3NhX2lkXzAxMjM6c2VjcmV0» to it"},
		{name: "connection string", text: "see mongodb+srv://app:«p4ss»@cluster0.example.net/db."},
		{name: "odd password", text: "mongodb://app:«p@ss:w/o:rd»@host/db"},
		{name: "slash in a password", text: "amqp://app:«pa/ss»@host"},
		{name: "two hosts", text: "nats://a:«b1»@h1:4222,nats://c:«d2»@h2:4222"},
		{name: "escaped slashes", text: `{"uri":"https:\/\/u:«p4ss»@host\/x"}`},
		{name: "escaped URL", text: "next=postgres%3A%2F%2Fu%3A«p4ss»%40host%2Fdb"},
		{name: "token of a server", text: "nats://«s3cr3ts3cr3ts3cr3ts3»@host:4222"},
		{name: "URLs in a list", text: "[https://a.example/x, ftp://u:«p»@b.example]"},
		{name: "PEM", text: "key: «" + pem + "» ."},
		{name: "PEM in JSON", text: `{"key":"«` + strings.ReplaceAll(pem, "\n", `\n`) + `»"}`},
		{name: "PEM, cut off", text: "«-----BEGIN RSA PRIVATE KEY-----\nMIIEow»"},
		{name: "OpenSSH", text: "«-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----»"},
		{name: "GitHub", text: "x=«ghp_" + strings.Repeat("a1B2", 9) + "», y"},
		{name: "GitHub, on a line of its own", text: `line\n«ghp_` + strings.Repeat("a1B2", 9) + `»\n`},
		{name: "GitLab", text: "«glpat-abcdefghij1234567890»"},
		{name: "Slack", text: "«xoxb-123456789012-abcdefABCDEF»"},
		{name: "Vault", text: "token «hvs.CAESIabcdefghij1234567890» of ours"},
		{name: "nkey", text: "seed «SUAM" + strings.Repeat("A2", 27) + "»"},
		{name: "chat", text: "https://hooks.slack.com/services/«T0000/B0000/abcdefABCDEF012345»"},

		{name: "public and private key", text: "the key yhltsukm:«" + pair + "» leaked", unsure: true},
		{name: "public and private key, spaced", text: "yhltsukm / «" + pair + "»", unsure: true},
		{name: "named halves", text: "public key yhltsukm, private key «" + pair + "»", unsure: true},
		{name: "named halves in JSON", text: `{"publicKey":"yhltsukm","privateKey":"«` + pair + `»"}`, unsure: true},
		{name: "named halves in JSON in JSON", text: `"{\"public_key\":\"yhltsukm\",\"private_key\":\"«` + pair + `»\"}"`, unsure: true},
		{name: "beside a public key", text: "publicKey=yhltsukm with «" + pair + "»", unsure: true},
		{name: "private half first", text: "«" + pair + "» (private key of yhltsukm)", unsure: true},
		{name: "API key", text: "API key: «" + pair + "»", unsure: true},
		{name: "curl", text: "curl --digest -u yhltsukm:«" + pair + "» https://cloud.mongodb.com", unsure: true},
		{name: "curl with a password", text: `curl --user "me:«hunter22»" x`, unsure: true},
		{name: "query", text: "GET /x?a=1&access_token=«f4k3t0ken»&b=2", unsure: true},
		{name: "shell", text: "PASSWORD=«hunter22» ./run", unsure: true},
		{name: "AWS", text: "AKIAIOSFODNN7EXAMPLE / «wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»", unsure: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := strings.NewReplacer("«", "", "»", "").Replace(tt.text)
			got := credential.Replace(text, func(found string) string { return "«" + found + "»" })
			if got != tt.text {
				t.Errorf("found in\n%s\nwant\n%s", got, tt.text)
			}
			if sure := credential.Certain(text); sure == tt.unsure {
				t.Errorf("Certain is %v", sure)
			}
			// What stands in its place is not found again.
			for _, mark := range []string{"[redacted sha256:0f1e2d3c4b5a]", "[redacted]", "[secret]"} {
				clean := credential.Replace(text, func(string) string { return mark })
				if again := credential.Replace(clean, func(string) string { return mark }); again != clean {
					t.Errorf("a second time it becomes\n%s\nof\n%s", again, clean)
				}
			}
		})
	}
}

func TestFindLeavesAlone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "IR-4711, see mdb_sa_id_5ec0000000000000000000a1",
		"project 5ec0000000000000000000f1 of organization 5ec0000000000000000000b1",
		"job j-7f3a and sha256:0f1e2d3c4b5a, then [redacted sha256:0f1e2d3c4b5a]",
		"incident:" + pair, "incident " + pair, "the event " + pair + " of source urn:siem", "sentinel:" + pair, "clientid:" + pair, `{"objectid":"` + pair + `"}`, "trace_id=" + pair,
		"api_key_id=" + pair, `{"requestId":"` + pair + `","keyId":"5ec0000000000000000000a1"}`,
		"rekey-seal.v1.X" + strings.Repeat("A", 55) + ".sk-abcdefghij1234567890eyJabcdefghi.eyJ",
		"https://cloud.mongodb.com/v2/5ec0000000000000000000f1#/users", "http://127.0.0.1:9464/metrics?a=b@c", "ssh://git@github.com/x/y",
		"https://registry:5000/image@sha256:0f1e2d3c4b5a", "see http://[::1]:8080/x@y", "mailto:someone@example.com", "nats://h1:4222,nats://h2:4222",
		"Bearer authentication is required, basic is not", "a basic infrastructure-redeployment-of-everything",
		"Revoke token: IR-4711", "token=sha256:0f1e2d3c4b5a", "token_file=/run/secrets/leaked", "secret=vault:rekey/leak#token", "page_token=abcdefghij",
		"the API key leaked, event_id=" + pair, "private key found in incident " + pair, "[redacted] -----END PRIVATE KEY----- of session: " + pair,
		"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "risk-assessment-of-the-whole-organization", "task-force-sk-something-with-words-only",
		"AKIAIOSFODNN7EXAMPLE is the id of a key", "2026-11-24T03:00:00Z-2026-11-25T03:00:00Z",
	} {
		if got := credential.Replace(text, func(found string) string { return "«" + found + "»" }); got != text {
			t.Errorf("found in %s", got)
		}
		if credential.Certain(text) {
			t.Errorf("Certain of %s", text)
		}
	}
}

// A text can be made to be dear to look through. The limits are far above what is needed, and far below what a square costs.
func TestFindIsBounded(t *testing.T) {
	t.Parallel()
	const size = 200_000 // Less than an event may have, for the sake of the race detector.
	for _, part := range []string{
		"a://b:c/", "a://b:c@", "a://", "a:", pair + " ", "private key " + pair + " ", "yhltsukm:" + pair + " ", "[secret]", "rekey-seal.",
		"eyJaaaaa.", "-----BEGIN PRIVATE KEY-----", "bearer ", "%3a%2f%2f%3a", "password=", "mdb_sa_sk_", "AKIAIOSFODNN7EXAMPLE ", "\\n",
	} {
		text := strings.Repeat(part, size/len(part))
		begun := time.Now()
		credential.Find(text)
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%q: %s for 200 kB", part, took)
		}
	}
}
