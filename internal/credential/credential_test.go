package credential_test

import (
	"encoding/base64"
	"strings"
	"testing"

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
		{"opaque, of words and a number", "opaque-token-0001", credential.Opaque, ""},
		{"opaque, of a made-up test", "canary-token.long-enough-to-be-one", credential.Opaque, ""},
		{"opaque, with digits behind", "leaked-token-2", credential.Opaque, ""},
		{"opaque, a test's, with a number of its own", "test-token-1764558000123", credential.Opaque, ""},
		{"opaque, random", "tok-3f9a77d2c4e1", credential.Opaque, ""},
		{"opaque, of Atlas", "mdb_sa_at_Ab1-_2CdEf", credential.Opaque, ""},
		{"opaque, a noun and a number", "token-0001", credential.Opaque, ""},
		{"opaque, that says what it is an example of", "example-token-of-a-leak", credential.Opaque, ""},
		{"opaque, with a percent sign", "f4k3%0paque%zz", credential.Opaque, ""},
		{"base64 of bytes", "q83vEjRWeJCrze8SNFZ4kKvN7w==", credential.Opaque, ""},
		{"hexadecimal, of no digest's length", strings.Repeat("0f1e2d3c", 8) + "0f", credential.Opaque, ""},
		{"short digits in hexadecimal", "0f1e2d3c4b5a", credential.Opaque, ""},
		{"base64", "Zm9vYmFyYmF6cXV4cXV1eGNvcmdlZ3JhdWx0==", credential.Opaque, ""},
		{"at the limit", strings.Repeat("x", credential.MaxTokenBytes), credential.Opaque, ""},
		{"over the limit", strings.Repeat("x", credential.MaxTokenBytes+1), credential.Opaque, "1 to 16384 bytes"},
		{"nothing", "", credential.Placeholder, "1 to 16384 bytes"},

		{"client secret", "mdb_sa_sk_Ab1-_2Cd", credential.ServiceAccountSecret, "is the secret of a service account"},
		{"client secret, upper case", "MDB_SA_SK_AB12CD", credential.ServiceAccountSecret, "is the secret of a service account"},
		{"client id", "mdb_sa_id_0123456789abcdef01234567", credential.ServiceAccountID, "is the id of a service account"},
		{"id and secret of a header", "bWRiX3NhX2lkXzAxMjM6bWRiX3NhX3NrX3g=", credential.Header, "in base64"},
		{"client secret without its first letters", "sa_sk_Ab1-_2Cd", credential.ServiceAccountSecret, "is the secret of a service account"},
		{"client secret behind a name", "secret.mdb_sa_sk_Ab1-_2Cd", credential.ServiceAccountSecret, "is the secret of a service account"},
		{"client secret, percent-encoded", "mdb%5Fsa%5Fsk%5FAb1%2D2Cd", credential.Encoded, "is the secret of a service account (mdb_sa_sk_…), percent-encoded"},
		{"client secret in base64", "bWRiX3NhX3NrX0FiMS1fMkNk", credential.Encoded, "is the secret of a service account (mdb_sa_sk_…), in base64"},
		{"client secret in base64, with padding and a line break", "bWRiX3NhX3NrX0FiMS1fMkNkRQo=\n", credential.Encoded, "in base64"},
		{"client id in base64", "bWRiX3NhX2lkXzAxMjM=", credential.Header, "in base64"},
		{"connection string in base64", "bW9uZ29kYitzcnY6Ly91OnBAaC94", credential.Encoded, "is a connection string with a password, in base64"},
		{"JWT in base64", base64.StdEncoding.EncodeToString([]byte(jwt)), credential.Encoded, "is a JWT in base64"},
		{"PEM in base64", base64.StdEncoding.EncodeToString([]byte(pem)), credential.Encoded, "a certificate, in base64"},
		{"UUID as a URN", "urn:uuid:" + pair, credential.APIPrivateKey, "is a UUID"},
		{"hexadecimal digits, which a token may be made of", "d41d8cd98f00b204e9800998ecf8427e", credential.Opaque, ""},
		{"more of them", strings.Repeat("0f1e2d3c", 8), credential.Opaque, ""},
		{"digest in pairs", strings.Repeat("0F:1E:", 8) + "2D", credential.Fingerprint, "is a digest"},
		{"fingerprint of a certificate", strings.Repeat("0F:", 19) + "0F", credential.Fingerprint, "is a digest"},
		{"user and password of a cluster", "user:pass@cluster0.mongodb.net", credential.ConnectionString, "is a user and password with a host"},
		{"JDBC", "jdbc:mongodb://h/x", credential.ConnectionString, "a connection string"},
		{"Azure", "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=Ab1+/cd==", credential.ConnectionString, "connection string of names"},
		{"names and values", "Server=h;Database=d;Password=p4ss", credential.ConnectionString, "connection string of names"},
		{"address and port", "10.20.30.40:8080", credential.Identifier, "is the address of a host"},
		{"host and port", "cluster0.example.net:27017", credential.Identifier, "is the address of a host"},
		{"host of a cluster", "cluster0.x.mongodb.net", credential.Identifier, "is the address of a host"},
		{"address, version 6", "2001:db8::10:20", credential.Identifier, "is the address of a host"},
		{"moment", "2026-11-29T00:00:00Z", credential.Identifier, "is a date"},
		{"date", "2026-11-29", credential.Identifier, "is a date"},
		{"number", "1764460800000", credential.Identifier, "is a number"},
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
		{"value of a header", "Bearer " + jwt, credential.Header, "only the text after Bearer"},
		{"value of a header, lower case", "bearer\t" + opaque, credential.Header, "only the text after Bearer"},
		{"value of a header, escaped", "Bearer%20" + opaque, credential.Header, "only the text after Bearer"},
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
		{"address of a person", "person@example.com", credential.Email, "e-mail"},

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

		{"XXXX in groups", "XXXX-XXXX-XXXX", credential.Placeholder, "is a placeholder"},
		{"zeros in groups", "0000-0000-0000", credential.Placeholder, "is a placeholder"},
		{"EXAMPLE_TOKEN", "EXAMPLE_TOKEN", credential.Placeholder, "is a placeholder"},
		{"TODO_REPLACE_ME", "TODO_REPLACE_ME", credential.Placeholder, "is a placeholder"},
		{"MASKED-VALUE", "MASKED-VALUE", credential.Placeholder, "is a placeholder"},
		{"dummytoken123", "dummytoken123", credential.Placeholder, "is a placeholder"},
		{"test-token-123", "test-token-123", credential.Opaque, ""},
		{"my-example-access-token", "my-example-access-token", credential.Placeholder, "is a placeholder"},
		{"N/A-N/A-N/A", "N/A-N/A-N/A", credential.Placeholder, "is a placeholder"},
		{"NoneNoneNone", "NoneNoneNone", credential.Placeholder, "is a placeholder"},
		{"refresh_token", "refresh_token", credential.Placeholder, "is a placeholder"},
		{"client_secret", "client_secret", credential.Placeholder, "is a placeholder"},
		{"REDACTED in base64", "UkVEQUNURUQ=", credential.Encoded, "is a placeholder for a secret, in base64"},

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
		{"Vault, old", "s.aB3dE5gH7jK9mN1pQ3sT5vW7", credential.Foreign, "a Vault token"},
		{"Grafana", "glsa_aB3dE5gH7jK9mN1pQ3sT5vW7xY9zA1bC_12345678", credential.Foreign, "a Grafana token"},
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

// TestEnds: a token's own word on its end, and nothing else.
func TestEnds(t *testing.T) {
	made := func(claims string) string {
		return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	tests := []struct {
		token string
		want  int64 // 0: it does not say.
	}{
		{made(`{"exp":1800000000}`), 1800000000},
		{made(`{"exp":1800000000.7}`), 1800000000},
		{made(`{"exp":1e300}`), 253402300799},
		{made(`{"exp":-5}`), 0},
		{made(`{"exp":"1800000000"}`), 0},
		{made(`{"iat":1800000000}`), 0},
		{made(`[]`), 0},
		{"a.b.c", 0},
		{"opaque", 0},
		{"", 0},
	}
	for _, tt := range tests {
		got := credential.Ends(tt.token)
		if tt.want == 0 && !got.IsZero() || tt.want != 0 && got.Unix() != tt.want {
			t.Errorf("Ends(%s) = %s, want %d", tt.token, got, tt.want)
		}
	}
}
