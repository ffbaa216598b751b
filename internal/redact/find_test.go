package redact_test

import (
	"strings"
	"testing"
	"time"

	"rekey/internal/redact"
)

const (
	header = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9"
	claims = ".eyJzdWIiOiJtZGJfc2FfaWQifQ"
	jwt    = header + claims + ".c2lnbmF0dXJl"
	opaque = "f4k3-0paque.t0ken_of~a+length/that=fits"
	pair   = "3f2a1b4c-5d6e-4f70-8a9b-0c1d2e3f4a5b"
	pem    = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----"
)

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
		{name: "behind the word policy", text: "the policy token: «f4k3-0paque»: refused", unsure: true},
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
		{name: "password", text: "found password: «hunter2» there", unsure: true},
		{name: "password of letters", text: "pwd: «swordfish»", unsure: true},
		{name: "password before another name", text: "user: bob, password: «swordfish», host: x", unsure: true},
		{name: "password behind a line break of JSON", text: `{"reason":"pw\npassword: «swordfish»"}`, unsure: true},
		{name: "password with signs", text: "pw: «$ecr=t(1),x»", unsure: true},
		{name: "option", text: "ran mongosh --password «hunter2» --username x", unsure: true},
		{name: "JSON", text: `{"client_secret":"«x»"}`, unsure: true},
		{name: "JSON with blanks", text: `{"password": "«correct horse»", "a": 1}`, unsure: true},
		{name: "single quotes", text: `{'password': '«x»'}`, unsure: true},
		{name: "JSON in JSON, with escapes", text: `"{\"private_key\":\"«a\\\"b»\"}"`, unsure: true},
		{name: "INI", text: "client_secret = «x»", unsure: true},
		{name: "camel case", text: "clientSecret: «x»", unsure: true},
		{name: "variable", text: "ATLAS_PRIVATE_KEY=«x»", unsure: true},
		{name: "variable in quotes", text: `export MONGODB_ATLAS_PRIVATE_KEY="«x»"`, unsure: true},
		{name: "header of Vault", text: "X-Vault-Token: «x»", unsure: true},
		{name: "token of a service", text: "token: «tok-3f9a1c»", unsure: true},
		{name: "key of Azure", text: "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=«Ab1+/cd==»;EndpointSuffix=y", unsure: true},
		{name: "name in a query, encoded", text: "q=a%26client%5Fsecret%3D«hunter22»%26b", unsure: true},

		{name: "public and private key, a blank", text: "yhltsukm «" + pair + "»", unsure: true},
		{name: "public and private key, a no-break space", text: "yhltsukm\u00a0«" + pair + "»", unsure: true},
		{name: "public and private key, a line break of JSON", text: `"yhltsukm\n«` + pair + `»"`, unsure: true},
		{name: "public and private key, an arrow", text: "yhltsukm -> «" + pair + "»", unsure: true},
		{name: "private half, the key behind", text: "«" + pair + "» (key yhltsukm)", unsure: true},
		{name: "private half of the key", text: "«" + pair + "» of yhltsukm", unsure: true},
		{name: "private half without hyphens", text: "yhltsukm:«" + strings.ReplaceAll(pair, "-", "") + "»", unsure: true},

		{name: "user and password of a cluster", text: "u:«p@w»@cluster0.x.mongodb.net/db"},
		{name: "user and password of a server", text: "psql u:«p4ss»@host:5432", unsure: true},
		{name: "client secret, encoded", text: "x=«mdb%5Fsa%5Fsk%5FAb9»&y"},
		{name: "client secret, encoded twice", text: "«mdb%255Fsa%255Fsk%255FAb9»"},
		{name: "client secret in base64", text: "secret data «bWRiX3NhX3NrX0FiOWNkZWY=» ."},
		{name: "client secret in base64, behind a path", text: "«/data/" + "eG1kYl9zYV9za19BYjljZGVm»"},
		{name: "JWT in base64", text: "«ZXlKaGJHY2lPaUp1YjI1bEluMC5leUp6ZFdJaU9pSXhJbjAuYzJsbg==»"},
		{name: "connection string in base64", text: "uri: «bW9uZ29kYjovL3U6cDRzc0BoL2Ri»"},
		{name: "old token of Vault", text: "vault «s.aB3dE5gH7jK9mN1pQ3sT5vW7»"},
		{name: "Grafana", text: "«glsa_aB3dE5gH7jK9mN1pQ3sT5vW7xY9zA1bC_12345678»"},

		{name: "shell", text: "PASSWORD=«hunter22» ./run", unsure: true},
		{name: "AWS", text: "AKIAIOSFODNN7EXAMPLE / «wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»", unsure: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := strings.NewReplacer("«", "", "»", "").Replace(tt.text)
			got := redact.Replace(text, func(found string) string { return "«" + found + "»" })
			if got != tt.text {
				t.Errorf("found in\n%s\nwant\n%s", got, tt.text)
			}
			if sure := redact.Certain(text); sure == tt.unsure {
				t.Errorf("Certain is %v", sure)
			}
			// The mark in its place is not found again.
			for _, mark := range []string{"[redacted sha256:0f1e2d3c4b5a]", "[redacted]", "[secret]"} {
				clean := redact.Replace(text, func(string) string { return mark })
				if again := redact.Replace(clean, func(string) string { return mark }); again != clean {
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
		"https://registry:5000/image@sha256:0f1e2d3c4b5a", "see http://[::1]:8080/x@y", "mailto:person@example.com", "nats://h1:4222,nats://h2:4222",
		"Bearer authentication is required, basic is not", "a basic infrastructure-redeployment-of-everything",
		"Revoke token: IR-4711", "token=sha256:0f1e2d3c4b5a", "token_file=/run/secrets/leaked", "secret=vault:rekey/leak#token", "page_token=abcdefghij",
		"the API key leaked, event_id=" + pair, "private key found in incident " + pair, "[redacted] -----END PRIVATE KEY----- of session: " + pair,
		"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "risk-assessment-of-the-whole-organization", "task-force-sk-something-with-words-only",
		"policy leaked-token: when: no such key: secret", "policy api-secret: jobs[0].params.token: is empty",
		"the password: policy was changed", "Password: Policy was changed", "client_secret: must be set", "fetching a bearer token: HTTP 401, no answer", "fetching a token: EOF",
		"token: revoked", "Leaked token: revoked. See IR-4711", "API key: see the ticket", "secret: 5ec0000000000000000000f1", "token: INC0012345", "use --password to set one", "--password-file /run/x",
		"password: ${PASSWORD}", "password: <hidden>", "password: ********", `{"token_type":"bearer","expires_in":3600}`, `{"token":null,"secret":false}`, `{"a":"the token:","b":"x"}`,
		"token := event.data.secret", "if token == nil", "nextPageToken=abcdefgh1", "compass: 4 degrees", "bypass: on", "https://secret://x", "mailto:p3rson@example.com:25x", "cc:person@example.com",
		"customer " + pair, "hostname " + pair + " reported", "the endpoint " + pair + " of material", "key rotation " + pair, strings.ReplaceAll(pair, "-", ""), "sha256 " + strings.Repeat("0f1e2d3c", 8),
		"100%25 of them", "VGhpcyBpcyBhIHNlbnRlbmNlIHdpdGhvdXQgYW55dGhpbmcu", "abc/def/ghi/jkl/mno/pqr/stu", "ten tests.passed", "Class.method.name.of.something.else1", "AKIAIOSFODNN7EXAMPLE is the id of a key", "2026-11-24T03:00:00Z-2026-11-25T03:00:00Z",
	} {
		if got := redact.Replace(text, func(found string) string { return "«" + found + "»" }); got != text {
			t.Errorf("found in %s", got)
		}
		if redact.Certain(text) {
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
		"eyJaaaaa.", "-----BEGIN PRIVATE KEY-----", "bearer ", "%3a%2f%2f%3a", "password=", "password: ", `password: "`, `password='/a "`, "token=/a", "--password ", "%25", "%41%", "a@b:1", "mongodb.", "u:p@", "bW9uZ29kYjov", "=", ":=", "mdb_sa_sk_", "AKIAIOSFODNN7EXAMPLE ", "\\n",
	} {
		text := strings.Repeat(part, size/len(part))
		begun := time.Now()
		redact.Find(text)
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%q: %s for 200 kB", part, took)
		}
	}
}
