package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/config"
)

// canary stands for a secret that an operator wrote into the file. No error may repeat it.
const canary = "CANARY0"

// problemTest is a text and what is wrong with it: lines "LINE: path: message".
type problemTest struct {
	name string
	text string
	want []string
}

func runProblemTests(t *testing.T, tests []problemTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, got := parse(t, tt.text)
			if diff := cmp.Diff(tt.want, strings.Split(got, "\n")); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if strings.Contains(got, canary) {
				t.Error("the error shows a secret")
			}
		})
	}
}

func TestFiveMistakes(t *testing.T) {
	text := `nats:
  replicas: 2
  namspace: blue
atlas:
  timeout: soon
  accounts:
    - name: security
      client_id: mdb_sa_id_0123456789abcdef01234567
      client_secret: CANARY0
worker:
  concurrency: many
`
	want := &config.Invalid{File: "worker.yaml", Problems: []config.Problem{
		{Line: 2, Column: 3, Path: "nats.replicas", Message: "must be 1, 3 or 5, not 2"},
		{Line: 3, Column: 3, Path: "nats.namspace", Message: "unknown key; did you mean namespace?"},
		{Line: 5, Column: 3, Path: "atlas.timeout", Message: "is not a duration: write a number with its unit, such as 30s, 5m or 1h30m"},
		{
			Line: 9, Column: 7, Path: "atlas.accounts[0].client_secret",
			Message: "secrets are never written here: name a file with client_secret_file or an environment variable with client_secret_env",
		},
		{Line: 11, Column: 3, Path: "worker.concurrency", Message: "must be a whole number, not a string"},
	}}
	_, err := config.Parse("worker.yaml", []byte(text))
	var got *config.Invalid
	if !errors.As(err, &got) {
		t.Fatalf("error = %v, want *Invalid", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	if want := "worker.yaml:2: nats.replicas: must be 1, 3 or 5, not 2"; first != want {
		t.Errorf("first line %q, want %q", first, want)
	}
}

// TestEmptyDocuments: what has nothing in it is no second document.
func TestEmptyDocuments(t *testing.T) {
	for _, text := range []string{
		"---\nlog: {level: info}\n", "log: {level: info}\n---\n", "log: {level: info}\n---\n# nothing\n", "log: {level: info}\n...\n",
		"log: {level: info}\n---\n---\n", "\ufefflog: {level: info}\n",
	} {
		if _, problems := parse(t, text); problems != "" {
			t.Errorf("%q: %s", text, problems)
		}
	}
}

func TestSyntaxProblems(t *testing.T) {
	const secondDocument = "this line begins a second document, and a configuration is one: nothing from here on is read; " +
		"take the line --- out, or move what follows into a file of its own"
	const account = "atlas:\n  accounts:\n    - name: security\n      client_id: mdb_sa_id_0123456789abcdef01234567\n      client_secret_env: S\n"
	const schedules = "schedules:\n  - {name: s, cron: '@daily', job: {kind: token.revoke, account: security, params: {token_file: /t}}}\n"
	const wantFlow = "while parsing a flow mapping: did not find expected ',' or '}'"
	runProblemTests(t, []problemTest{
		{name: "not UTF-8", text: "http:\n  listen: \"\xff\"\n", want: []string{"2: is not valid UTF-8"}},
		{name: "control character", text: "http:\n  listen: \"a\x01b\"\n", want: []string{"2: control characters are not allowed"}},
		{name: "carriage return", text: "http: {}\rlog: {}\n", want: []string{"1: only newlines may end a line"}},
		{name: "line separator", text: "http: {}\n# \u2028\n", want: []string{"2: only newlines may end a line"}},
		{name: "not a mapping", text: "- a\n- b\n", want: []string{"1: must be a mapping (key: value), not a list"}},
		{name: "plain text", text: "hello\n", want: []string{"1: must be a mapping (key: value), not a string"}},
		{
			name: "indentation", text: "worker:\n  concurrency: 1\n   drain_timeout: 1s\n",
			want: []string{"3: mapping values are not allowed in this context (check the indentation, and quote a value that has a colon)"},
		},
		{
			name: "tab", text: "worker:\n\tconcurrency: 1\n",
			want: []string{"2: while scanning for the next token: found character that cannot start any token " +
				"(tabs do not indent; quote a value that begins with @, % or a backquote)"},
		},
		{
			name: "star without quotes", text: "schedules:\n  - cron: */5 * * * *\n",
			want: []string{`2: while scanning an alias: did not find expected alphabetic or numeric character (quote a value that begins with * or &, as in "*/5 * * * *")`},
		},
		{
			name: "question mark without quotes", text: "schedules:\n  - cron: ? 3 * * FRI\n",
			want: []string{"2: mapping keys are not allowed in this context (check the indentation, and quote a value that begins with ?)"},
		},
		{
			name: "open quote", text: "log:\n  level: \"info\n  format: json\n",
			want: []string{"2: while scanning a quoted scalar: found unexpected end of stream"},
		},
		{name: "open brace", text: "log: {level: info\nhttp: {listen: ''}\n", want: []string{"1: " + wantFlow}},
		{
			name: "broken sections hide nothing", text: "log: {level: info\nhttp: {listen: 5}\nworker: {concurrency: 0\nretry: {base: 1}\n",
			want: []string{
				"1: " + wantFlow, "2: http.listen: must be a string, not a number: put it in quotes",
				"3: " + wantFlow, "4: retry.base: is not a duration: write a number with its unit, such as 30s, 5m or 1h30m",
			},
		},
		{
			name: "nothing follows from a broken section", text: "nats: {url: nats://h\natlas: {accounts: [}\n" +
				"schedules: [{name: s, cron: '@daily', job: {kind: token.revoke, account: a, params: {token_file: /t}}}]\n",
			want: []string{"1: " + wantFlow, "2: while parsing a flow node: did not find expected node content"},
		},
		{name: "line that is no key", text: "log: {level: info}\ngarbage\nhttp: {listen: ''}\n", want: []string{"2: must be written as key: value"}},
		{
			name: "several documents", text: "log: {level: loud}\n---\nlog: {level: info}\n",
			want: []string{"1: log.level: must be one of debug, info, warn, error", "2: " + secondDocument},
		},
		{name: "second document after an account", text: account + "---\nlog: {level: info}\n", want: []string{"6: " + secondDocument}},
		{name: "second document with the accounts", text: schedules + "---\n" + account, want: []string{"3: " + secondDocument}},
		{name: "second document behind an end mark", text: account + "...\nlog: {level: info}\n", want: []string{"7: " + secondDocument}},
		{name: "second document in one line", text: account + "--- {log: {level: info}}\n", want: []string{"6: " + secondDocument}},
		{name: "second document that is a list", text: account + "---\n- a\n", want: []string{"6: " + secondDocument}},
		{name: "the same document twice", text: account + "---\n" + account, want: []string{"6: " + secondDocument}},
		{name: "two documents behind an empty one", text: "log: {level: info}\n---\n---\nhttp: {listen: ''}\n", want: []string{"3: " + secondDocument}},
		{name: "account with both secrets beside a broken section", text: "http: {\n" + account + "      private_key_env: P\n", want: []string{
			"1: while parsing a flow node: did not find expected node content",
			"4: atlas.accounts[0]: is either a service account (client_id, client_secret_file or client_secret_env) " +
				"or an API key (public_key, private_key_file or private_key_env), not both",
		}},
		{name: "UTF-16", text: "\xff\xfel\x00o\x00g\x00", want: []string{"1: is UTF-16 text: save the file as UTF-8"}},
		{name: "broken second document", text: "log: {level: info}\n---\nhttp: [\n", want: []string{"2: " + secondDocument, "3: while parsing a flow node: did not find expected node content"}},
		{name: "alias", text: "log: &l {level: info}\nhttp: *l\n", want: []string{"2: http: aliases (*name) are not supported: write the value out"}},
		{name: "unknown alias", text: "http: *" + canary + "\n", want: []string{"1: aliases (*name) are not supported: write the value out"}},
		{name: "merge key", text: "log: &l {level: info}\nhttp: {<<: *l}\n", want: []string{"2: http: merge keys (<<) are not supported: write the keys out"}},
		{name: "tag with the value", text: "http: {listen: !<" + canary + "}\n", want: []string{"1: while scanning a tag: did not find the expected '>'"}},
		{name: "too many sections", text: strings.Repeat("a: {\n", 65), want: []string{"65: while parsing a flow node: did not find expected node content"}},
	})
}

// TestAliasBomb checks that a billion laughs are refused before they are laughed.
func TestAliasBomb(t *testing.T) {
	var text strings.Builder
	text.WriteString("a: &a [x, x, x, x, x, x, x, x, x]\n")
	for c := 'b'; c <= 'z'; c++ {
		text.WriteString(string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(c-1)+", ", 9), ", ") + "]\n")
	}
	text.WriteString("schedules: *z\n")
	_, problems := parse(t, text.String())
	if want := "27: schedules: aliases (*name) are not supported: write the value out"; !strings.HasSuffix(problems, want) {
		t.Errorf("problems end in %q, want %q", problems[max(0, len(problems)-len(want)):], want)
	}
}

func TestKeyProblems(t *testing.T) {
	const rootKeys = "nats, atlas, intake, seal, vault, policies, worker, retry, proof, schedules, rotations, receivers, http, api, search, expiry, log"
	runProblemTests(t, []problemTest{
		{name: "unknown section", text: "\nmetrics: {}\n", want: []string{"2: metrics: unknown key; the keys here are " + rootKeys}},
		{name: "notify", text: "notify: []\n", want: []string{"1: notify: is called receivers now"}},
		{name: "targets", text: "targets: []\n", want: []string{"1: targets: is called receivers now"}},
		{name: "misspelt section", text: "schedule: []\n", want: []string{"1: schedule: unknown key; did you mean schedules?"}},
		{name: "swapped letters", text: "wokrer: {}\n", want: []string{"1: wokrer: unknown key; did you mean worker?"}},
		{name: "camel case", text: "retry:\n  maxAttempts: 3\n", want: []string{"2: retry.maxAttempts: unknown key; did you mean max_attempts?"}},
		{name: "part of the key", text: "atlas: {url: x}\n", want: []string{"1: atlas.url: unknown key; the keys here are base_url, timeout, x509_api, ca_file, accounts, rate_limits"}},
		{name: "longer part of the key", text: "worker:\n  drain: 3s\n", want: []string{"2: worker.drain: unknown key; did you mean drain_timeout?"}},
		{name: "set twice", text: "log:\n  level: info\n  format: json\n  level: loud\n", want: []string{"4: log.level: is set twice, first on line 2"}},
		{name: "section set three times", text: "log: {}\nlog: {}\nlog: {}\n", want: []string{"2: log: is set twice, first on line 1", "3: log: is set twice, first on line 1"}},
		{name: "complex key", text: "log:\n  ? {a: b}\n  : c\n", want: []string{"2: log: a key must be a plain word"}},
		{name: "secret as key", text: "nats: {mdb_sa_sk_" + canary + ": x}\n", want: []string{
			"1: nats.(a key of 17 bytes): unknown key; the keys here are url, namespace, replicas, credentials_file, nkey_file, user, " +
				"password_file, password_env, token_file, token_env, inbox_prefix, domain, tls, embedded",
		}},
		{name: "misspelt key and right key", text: "nats: {urll: x, url: " + canary + "}\n", want: []string{
			"1: nats.urll: unknown key; did you mean url?",
			"1: nats.url: must be nats://host:port, or tls://, ws:// or wss://; several are separated by commas",
		}},
	})
}

func TestTypeProblems(t *testing.T) {
	const day = "is not a duration: the units are h, m, s and ms; a day is 24h"
	const unit = "is not a duration: write a number with its unit, such as 30s, 5m or 1h30m"
	runProblemTests(t, []problemTest{
		{name: "number for text", text: "log:\n  level: 5\n", want: []string{"2: log.level: must be a string, not a number: put it in quotes"}},
		{name: "fraction for text", text: "atlas: {x509_api: 1.0}\n", want: []string{"1: atlas.x509_api: must be a string, not a number with a fraction: put it in quotes"}},
		{name: "boolean for text", text: "log: {level: true}\n", want: []string{"1: log.level: must be a string, not a boolean: put it in quotes"}},
		{name: "date for text", text: "nats: {namespace: 2026-01-01}\n", want: []string{"1: nats.namespace: must be a string, not a date: put it in quotes"}},
		{name: "list for text", text: "nats:\n  url:\n    - nats://h\n", want: []string{"2: nats.url: must be a string, not a list"}},
		{name: "mapping for text", text: "log: {level: {a: b}}\n", want: []string{"1: log.level: must be a string, not a mapping"}},
		{name: "tagged text", text: "log: {level: !binary aW5mbw==}\n", want: []string{"1: log.level: must be a string, not a value with such a tag: put it in quotes"}},
		{name: "two lines of text", text: "log:\n  level: |\n    info\n", want: []string{"2: log.level: must be one line without control characters"}},
		{name: "text for number", text: "worker: {concurrency: '4'}\n", want: []string{"1: worker.concurrency: must be a whole number, not a string"}},
		{name: "fraction for number", text: "worker: {concurrency: 4.5}\n", want: []string{"1: worker.concurrency: must be a whole number, not a number with a fraction"}},
		{name: "octal number", text: "worker: {concurrency: 010}\n", want: []string{"1: worker.concurrency: must be a whole number in plain decimal digits"}},
		{name: "huge number", text: "worker: {concurrency: 9999999999999999999}\n", want: []string{"1: worker.concurrency: must be a whole number in plain decimal digits"}},
		{name: "tagged number", text: "worker: {concurrency: !!int many}\n", want: []string{"1: worker.concurrency: must be a whole number in plain decimal digits"}},
		{name: "list for section", text: "worker: [1]\n", want: []string{"1: worker: must be a mapping (key: value), not a list"}},
		{name: "mapping for list", text: "schedules: {}\n", want: []string{"1: schedules: must be a list, not a mapping"}},
		{name: "text for list", text: "schedules: none\n", want: []string{"1: schedules: must be a list, not a string"}},
		{name: "text for item", text: "schedules:\n  - weekly\n", want: []string{"2: schedules[0]: must be a mapping (key: value), not a string"}},
		{name: "empty item", text: "atlas:\n  accounts:\n    -\n", want: []string{"3: atlas.accounts[0]: is empty"}},
		{name: "duration without unit", text: "atlas: {timeout: 30}\n", want: []string{"1: atlas.timeout: " + unit}},
		{name: "duration with fraction", text: "atlas: {timeout: 0.5}\n", want: []string{"1: atlas.timeout: " + unit}},
		{name: "duration in days", text: "retry: {max_age: 1d}\n", want: []string{"1: retry.max_age: " + day}},
		{name: "duration in words", text: "retry: {max_age: a while}\n", want: []string{"1: retry.max_age: " + unit}},
		{name: "duration as list", text: "retry: {max_age: []}\n", want: []string{"1: retry.max_age: must be a duration such as 30s, not a list"}},
	})
}

func TestLimitProblems(t *testing.T) {
	runProblemTests(t, []problemTest{
		{name: "no concurrency", text: "worker: {concurrency: 0}\n", want: []string{"1: worker.concurrency: must be from 1 to 1024, not 0"}},
		{name: "much concurrency", text: "worker: {concurrency: 1025}\n", want: []string{"1: worker.concurrency: must be from 1 to 1024, not 1025"}},
		{name: "negative drain", text: "worker: {drain_timeout: -1s}\n", want: []string{"1: worker.drain_timeout: must be from 0s to 1h, not -1s"}},
		{name: "no timeout", text: "atlas: {timeout: 0}\n", want: []string{"1: atlas.timeout: must be from 100ms to 5m, not 0s"}},
		{name: "long timeout", text: "atlas: {timeout: 301s}\n", want: []string{"1: atlas.timeout: must be from 100ms to 5m, not 5m1s"}},
		{
			name: "retry", text: "retry:\n  base: 0s\n  cap: 25h\n  max_attempts: -1\n  max_age: 721h\n  retry_after_cap: 0\n",
			want: []string{
				"2: retry.base: must be from 1ms to 1h, not 0s", "3: retry.cap: must be from 1ms to 24h, not 25h",
				"4: retry.max_attempts: must be from 1 to 1000, not -1", "5: retry.max_age: must be from 1ms to 720h, not 721h",
				"6: retry.retry_after_cap: must be from 1ms to 168h, not 0s",
			},
		},
		{name: "cap below base", text: "retry:\n  base: 2s\n  cap: 1s\n", want: []string{"3: retry.cap: must not be shorter than retry.base, which is 2s"}},
		{name: "base above default cap", text: "retry:\n  base: 10m\n", want: []string{"2: retry.base: must not be longer than retry.cap, which is 5m"}},
		{name: "payload", text: "nats: {embedded: {max_payload_mib: 65}}\n", want: []string{"1: nats.embedded.max_payload_mib: must be from 1 to 64, not 65"}},
		{name: "log level", text: "log: {level: " + canary + "}\n", want: []string{"1: log.level: must be one of debug, info, warn, error"}},
		{name: "log format", text: "log: {format: xml}\n", want: []string{"1: log.format: must be one of json, console"}},
		{name: "listen without port", text: "http: {listen: 127.0.0.1}\n", want: []string{"1: http.listen: must be host:port, such as 127.0.0.1:4222"}},
		{name: "listen on a name for a port", text: "http: {listen: '127.0.0.1:http'}\n", want: []string{"1: http.listen: must end in a port from 0 to 65535"}},
		{name: "listen on a high port", text: "http: {listen: '127.0.0.1:65536'}\n", want: []string{"1: http.listen: must end in a port from 0 to 65535"}},
	})
}

// TestNoCascade checks that one mistake is one problem, also where others follow from it.
func TestNoCascade(t *testing.T) {
	const schedule = "schedules: [{name: s, cron: '@daily', job: {kind: token.revoke, account: a, params: {token_file: /t}}}]\n"
	tests := []struct{ name, text, want string }{
		{name: "misspelt accounts", text: "atlas: {acounts: []}\n" + schedule, want: "1: atlas.acounts: unknown key; did you mean accounts?"},
		{name: "misspelt atlas", text: "altas: {}\n" + schedule, want: "1: altas: unknown key; did you mean atlas?"},
		{name: "accounts of another type", text: "atlas: {accounts: {}}\n" + schedule, want: "1: atlas.accounts: must be a list, not a mapping"},
		{name: "account of another type", text: "atlas: {accounts: [a]}\n" + schedule, want: "1: atlas.accounts[0]: must be a mapping (key: value), not a string"},
		{
			name: "bad name of an account", text: "atlas: {accounts: [{name: A, public_key: k, private_key_env: K}]}\n" + schedule,
			want: "1: atlas.accounts[0].name: must be 1 to 64 lower-case letters, digits, - and _",
		},
		{name: "misspelt url", text: "nats: {ulr: nats://h, replicas: 3, token_env: T}\n", want: "1: nats.ulr: unknown key; did you mean url?"},
		{name: "url of another type", text: "nats: {url: [nats://h], replicas: 3}\n", want: "1: nats.url: must be a string, not a list"},
		{name: "misspelt password", text: "nats: {url: nats://h, user: u, pasword_file: p}\n", want: "1: nats.pasword_file: unknown key; did you mean password_file?"},
		{name: "misspelt user", text: "nats: {url: nats://h, usr: u, password_file: p}\n", want: "1: nats.usr: unknown key; did you mean user?"},
		{name: "misspelt token", text: "nats: {embedded: {listen: ':4222', token_fil: p}}\n", want: "1: nats.embedded.token_fil: unknown key; did you mean token_file?"},
		{name: "TLS of another type", text: "nats: {embedded: {listen: ':4222', tls: true}}\n", want: "1: nats.embedded.tls: must be a mapping (key: value), not a boolean"},
		{name: "misspelt job", text: "schedules: [{name: s, cron: '@daily', jobs: {}}]\n", want: "1: schedules[0].jobs: unknown key; did you mean job?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := parse(t, tt.text); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
