package redact_test

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rekey/internal/redact"
	"rekey/internal/secret"
)

func mark(text string) string { return redact.Mark(secret.New(text)) }

func TestReplaceShapes(t *testing.T) {
	t.Parallel()
	const jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln"
	tests := []struct{ name, text, want string }{
		{"nothing", "IR-4711, see mdb_sa_id_5ec0000000000000000000a1", "IR-4711, see mdb_sa_id_5ec0000000000000000000a1"},
		{"a client secret", "found mdb_sa_sk_Ab-_9 there", "found " + mark("mdb_sa_sk_Ab-_9") + " there"},
		{"two", jwt + " " + jwt, mark(jwt) + " " + mark(jwt)},
		{"a password", "mongodb://u:p4ss@h/", "mongodb://u:" + mark("p4ss") + "@h/"},
		{"a password of letters alone", "mongosh --password QKZTWVABCDEFGHKLMN of it", "mongosh --password " + mark("QKZTWVABCDEFGHKLMN") + " of it"},
		{"a sealed value", "rekey-seal.v1.XAFC.WEJJSDRFRzRJ", "rekey-seal.v1.XAFC.WEJJSDRFRzRJ"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := string(redact.ReplaceShapes([]byte(tt.text))); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// A known secret is found in each form in which it may be repeated, and where it was cut.
func TestScrub(t *testing.T) {
	t.Parallel()
	const plain, short = `s3cr3t/of+so"me`, "abc"
	long := secret.New(plain)
	basic := base64.StdEncoding.EncodeToString([]byte("mdb_sa_id_1:" + plain))
	tests := []struct{ name, text, want string }{
		{"as it is", "a " + plain + " b", "a " + redact.Mark(long) + " b"},
		{"twice", plain + plain, redact.Mark(long) + redact.Mark(long)},
		{"in a query", "a=" + url.QueryEscape(plain) + "&b", "a=" + redact.Mark(long) + "&b"},
		{"in JSON", `{"a":"s3cr3t/of+so\"me"}`, `{"a":"` + redact.Mark(long) + `"}`},
		{"cut", "a " + plain[:9] + "… b", "a " + redact.Mark(long) + "… b"},
		{"too little of it", "a s3cr3t. b", "a s3cr3t. b"},
		{"a short one", "abc", "abc"},
		{"beside a shape", "mdb_sa_sk_x " + plain, mark("mdb_sa_sk_x") + " " + redact.Mark(long)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := redact.Scrub(tt.text, redact.NewSet(long, secret.New(short))); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	// In base64, whatever is before it.
	for _, before := range []string{"", "a", "ab", "mdb_sa_id_1:"} {
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			text := encoding.EncodeToString([]byte(before + plain + ":x"))
			if got := redact.Scrub("sent "+text, redact.NewSet(long)); !strings.Contains(got, redact.Mark(long)) || len(got) > len("sent ")+len(redact.Mark(long))+24 {
				t.Errorf("of %s is left %s", text, got)
			}
		}
	}
	if got := redact.Scrub("header "+basic, redact.NewSet(long)); strings.Contains(got, basic[20:30]) {
		t.Errorf("got %s", got)
	}
}

// TestOwnSecretInAllSpellings hides a secret of the worker without showing its fingerprint. One that is a plain
// word is hidden in answers and logs only.
func TestOwnSecretInAllSpellings(t *testing.T) {
	t.Parallel()
	const key = "3f2a1b4c-5d6e-4f70-8a9b-0c1d2e3f4a5b"
	own := redact.NewKnown(nil)
	own.Add(secret.New(key), secret.New("operator"), secret.New("production-of-2026"))
	upper, bare := strings.ToUpper(key), strings.ReplaceAll(key, "-", "")
	for _, form := range []string{
		key, upper, bare, strings.ToUpper(bare), strings.ReplaceAll(key, "-", "%2D"), strings.ReplaceAll(upper, "-", "%2d"),
		strings.ReplaceAll(key, "-", "%252D"), hex.EncodeToString([]byte(key)),
		base64.RawStdEncoding.EncodeToString([]byte(key)), base64.RawStdEncoding.EncodeToString([]byte(upper)), base64.RawURLEncoding.EncodeToString([]byte(bare)),
	} {
		if got := redact.Scrub("leaked "+form+" there", own.Set()); len(strings.ReplaceAll(got, "[secret]", "")) > len("leaked xx there") || !strings.Contains(got, "leaked [secret]") { // A sign may have bits of what is behind.
			t.Errorf("%s: %s", form, got)
		}
		if got, found := redact.Payload([]byte(`{"reason":"x `+form+`"}`), own.Set()); !found || strings.Contains(string(got), form[:8]) {
			t.Errorf("%s: %s", form, got)
		}
		if !redact.Exposed("urn:"+form, own.Set()) || !redact.Holds([]byte(`["`+form+`"]`), own.Set()) {
			t.Errorf("%s is not exposed", form)
		}
	}
	for _, name := range []string{"rekey/operator", "urn:production"} {
		if redact.Exposed(name, own.Set()) {
			t.Errorf("%s is exposed", name)
		}
	}
	if got := redact.Scrub("the operator of production", own.Set()); got != "the operator of production" {
		t.Error(got)
	}
	if got := own.Hide("the operator of production"); got != "the [secret] of production" {
		t.Error(got)
	}
}

// TestShortPath: a URL of a receiver whose path is a word hides none of the texts that have it.
func TestShortPath(t *testing.T) {
	t.Parallel()
	if got := redact.Scrub("reading /run/secrets/slack-url", redact.NewSet(secret.New("https://hooks.example.com/slack"))); got != "reading /run/secrets/slack-url" {
		t.Error(got)
	}
}

// TestPlainBeginning: the zeros with which a made-up key begins are in ids, too; the key itself is hidden.
func TestPlainBeginning(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"00000000-0000-4000-8000-00000000cafe", "00000001-0000-4000-8000-00000000cafe"} {
		set := redact.NewSet(secret.New(key))
		for _, id := range []string{"5ec0000000000000000000f1", "000000000000000000000001"} {
			if redact.Exposed("project/"+id, set) || redact.Scrub(id, set) != id {
				t.Errorf("%s is taken for %s", id, key)
			}
		}
		for _, text := range []string{key, strings.ReplaceAll(key, "-", ""), key[:20]} {
			if !redact.Exposed("x/"+text, set) {
				t.Errorf("%s shows %s", text, key)
			}
		}
	}
}

// TestWithoutItsLead: what is behind the lead of a kind is hidden alone, too, also where its end is cut off, and texts that begin like it are not.
func TestWithoutItsLead(t *testing.T) {
	t.Parallel()
	const body = "q1w2e3r4t5z6u7i8o9p0a1s2d3f4g5h6j7k8l9y0"
	set := redact.NewSet(secret.New("mdb_sa_sk_"+body), secret.New("mdb_sa_sk_short-word"))
	tests := []struct{ text, want string }{
		{"the secret mdb_sa_sk_" + body + " leaked", "the secret [secret] leaked"},
		{"because " + body + " leaked", "because [secret] leaked"},
		{"it is " + body[:20] + "…", "it is [secret]…"},
		{"the build q1w2e3r4t5", "the build q1w2e3r4t5"},
		{"a short-word", "a short-word"},
	}
	for _, tt := range tests {
		if got := set.Replace(tt.text, secret.Value.String); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// Of several secrets in one place each is known alone; of a file with PEM what is in its blocks, and not the comments between them.
func TestPlaceWithSeveral(t *testing.T) {
	t.Parallel()
	const stars = "*************************"
	creds := "-----BEGIN NATS USER JWT-----\nq1w2e3r4t5z6u7i8o9p0\n------END NATS USER JWT------\n\n" + stars + " IMPORTANT " + stars +
		"\nNKEYs are sensitive and should be treated as secrets.\n\n-----BEGIN USER NKEY SEED-----\nSUAF3A2B4C5D6E7F2A3B\n------END USER NKEY SEED------\n\n" + stars
	env := map[string]string{"TOKENS": "first-of-2026 second-of-2027\nthird-of-2028", "CREDS": creds}
	own := redact.NewKnown(func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	own.Use([]redact.Place{{Ref: secret.Ref{Env: "TOKENS"}, Lines: true}, {Ref: secret.Ref{Env: "CREDS"}, Lines: true}})
	for _, one := range []string{"first-of-2026", "second-of-2027", "third-of-2028", "q1w2e3r4t5z6u7i8o9p0", "SUAF3A2B4C5D6E7F2A3B"} {
		if got := redact.Scrub("a "+one+" b", own.Set()); got != "a [secret] b" {
			t.Errorf("%s: got %s", one, got)
		}
	}
	for _, one := range []string{"the key " + stars, "NKEYs are sensitive and should be treated as secrets."} {
		if redact.Exposed(one, own.Set()) || redact.Scrub(one, own.Set()) != one {
			t.Errorf("%s is taken for a secret", one)
		}
	}
}

// Of what has several lines, each is secret; of a URL, what follows its host.
func TestSetParts(t *testing.T) {
	t.Parallel()
	const pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\nq1w2e3r4t5z6u7i8o9p0\n-----END PRIVATE KEY-----"
	set := redact.NewSet(secret.New(pem), secret.New("https://me:hunter22@hooks.example.com/services/T0AB1CD2EF3G/x?key=k1k2k3k4k5k6"))
	tests := []struct{ text, want string }{
		{"the line q1w2e3r4t5z6u7i8o9p0.", "the line [secret]."},
		{"-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----"},
		{"POST /services/T0AB1CD2EF3G/x?key=k1k2k3k4k5k6 failed", "POST [secret] failed"},
		{"hunter22", "[secret]"},
		{"unknown hook T0AB1CD2EF3G", "unknown hook [secret]"},
		{"see https://docs.example.com/serviceAccounts", "see https://docs.example.com/serviceAccounts"},
	}
	for _, tt := range tests {
		if got := set.Replace(tt.text, secret.Value.String); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
	// Names and ids in it are no secrets: a job about that organization would be refused.
	named := redact.NewSet(secret.New("https://hooks.example.com/orgs/5ec0000000000000000000b1/prod-app-alerts-2/userGroups2024/v1.2.10/ops2@example.com?api-version=2016-06-01&sp=%2Ftriggers%2Frun12&sig=Ab1cD2eF3gH4"),
		secret.New("prod-app-2024-secret"))
	for text, want := range map[string]bool{
		"5ec0000000000000000000b1": false, "5ec0000000000000000000d2": false, "prod-app-alerts-2": false, "prod-app-reader": false, "userGroups2024": false,
		"ops2@example.com": false, "2016-06-01": false, "Ab1cD2eF3gH4": true, "prod-app-2024-secret": true, "prod-app-2024-se…": true,
	} {
		if got := redact.Exposed(text, named); got != want {
			t.Errorf("%s is exposed: %t, want %t", text, got, want)
		}
	}
	var none *redact.Set
	if got := none.Replace("hunter22", secret.Value.String); got != "hunter22" {
		t.Errorf("without any: %s", got)
	}
}

func TestKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "key")
		write := func(text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("first-s3cret\n")
		places := []redact.Place{{Key: "a", Ref: secret.Ref{File: file}}, {Key: "b", Ref: secret.Ref{Env: "ABSENT"}}}
		known := redact.NewKnown(func(name string) (string, bool) { return "later-s3cret", name == "LATER" })
		known.Use(places)
		check := func(text, want string) {
			t.Helper()
			if got := known.Hide(text); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		check("first-s3cret is wrong", "[secret] is wrong")
		write("second-s3cret\n")
		check("second-s3cret", "second-s3cret") // It is not looked for with each text.
		<-time.After(5 * time.Second)
		check("second-s3cret, before: first-s3cret", "[secret], before: [secret]")
		known.Use(append(places, redact.Place{Key: "c", Ref: secret.Ref{Env: "LATER"}}))
		check("later-s3cret", "[secret]")
		known.Use(nil)
		check("first-s3cret", "[secret]")
	})
	var none *redact.Known
	if got := none.Hide("x-s3cret"); got != "x-s3cret" {
		t.Errorf("without any: %s", got)
	}
}

// A name is refused only where it certainly shows a credential: an id may look like half of a key.
func TestExposed(t *testing.T) {
	t.Parallel()
	known := secret.New("f4k3-0paque.t0ken")
	for text, want := range map[string]bool{
		"": false, "alert-1": false, "urn:siem": false, "privateKey 3f2a1b4c-5d6e-4f70-8a9b-0c1d2e3f4a5b": false,
		"mdb_sa_sk_Ab-_9": true, "rekey.v1.event.eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln": true, "https://u:p4ss@host": true,
		"x-f4k3-0paque.t0ken": true, "f4k3-0paque": true, "f4k3": false,
	} {
		if got := redact.Exposed(text, redact.NewSet(known)); got != want {
			t.Errorf("%q is exposed: %v, want %v", text, got, want)
		}
	}
	// A weak password is in names that say nothing of it.
	for text, want := range map[string]bool{"rekey.v1.event.incident": false, "Incident-7": false, "app-incident": false, "incident2024": true} {
		if got := redact.Exposed(text, redact.NewSet(secret.New("incident"), secret.New("incident2024"))); got != want {
			t.Errorf("%q is exposed: %v, want %v", text, got, want)
		}
	}
}
