package config_test

import (
	"strings"
	"testing"

	"rekey/internal/jobs"
)

func TestNATSProblems(t *testing.T) {
	const (
		address = "must be nats://host:port, or tls://, ws:// or wss://; several are separated by commas"
		noLogin = "must not hold a user, password or token: secrets are never written here, " +
			"use user with password_file or password_env, or token_file or token_env"
		external = "is for an external server and needs nats.url; the embedded server is protected by nats.embedded"
		exposed  = "is beyond loopback, where any client could ask for revocations: " +
			"set token_file or token_env, or tls with client_ca_file, or listen on 127.0.0.1"
	)
	runProblemTests(t, []problemTest{
		{name: "namespace", text: "nats: {namespace: a.b}\n", want: []string{"1: nats.namespace: must be 1 to 64 letters, digits, - and _"}},
		{name: "replicas", text: "nats: {url: nats://h, replicas: 4}\n", want: []string{"1: nats.replicas: must be 1, 3 or 5, not 4"}},
		{name: "replicas of the embedded server", text: "nats: {replicas: 3}\n", want: []string{
			"1: nats.replicas: must be 1 with the embedded server: there is nothing to copy to; set nats.url for a cluster",
		}},
		{name: "no scheme", text: "nats: {url: '127.0.0.1:4222'}\n", want: []string{"1: nats.url: " + address}},
		{name: "other scheme", text: "nats: {url: http://h}\n", want: []string{"1: nats.url: " + address}},
		{name: "no host", text: "nats: {url: 'nats://:4222'}\n", want: []string{"1: nats.url: " + address}},
		{name: "empty address", text: "nats: {url: 'nats://a,,nats://b'}\n", want: []string{"1: nats.url: " + address}},
		{name: "unreadable address", text: "nats: {url: 'nats://" + canary + "@h:x%'}\n", want: []string{"1: nats.url: " + address}},
		{name: "password in the address", text: "nats: {url: 'nats://a,nats://u:" + canary + "@b'}\n", want: []string{"1: nats.url: " + noLogin}},
		{name: "token in the address", text: "nats: {url: 'nats://" + canary + "@b'}\n", want: []string{"1: nats.url: " + noLogin}},
		{name: "token in the query", text: "nats: {url: 'nats://b?token=" + canary + "'}\n", want: []string{"1: nats.url: must not have a query or fragment"}},
		{name: "mixed schemes", text: "nats: {url: 'nats://a,ws://b'}\n", want: []string{"1: nats.url: must not mix ws:// or wss:// with other schemes"}},
		{
			name: "two ways to log in", text: "nats:\n  url: nats://h\n  credentials_file: c\n  nkey_file: n\n",
			want: []string{"4: nats.nkey_file: only one way to log in may be set, here are credentials_file and nkey_file"},
		},
		{
			name: "all ways to log in", text: "nats:\n  url: nats://h\n  credentials_file: c\n  nkey_file: n\n  user: u\n  password_file: p\n  token_env: T\n",
			want: []string{"7: nats.token_env: only one way to log in may be set, here are credentials_file, nkey_file, user and token"},
		},
		{name: "user without password", text: "nats: {url: nats://h, user: u}\n", want: []string{"1: nats.user: needs password_file or password_env as well"}},
		{name: "password without user", text: "nats: {url: nats://h, password_env: P}\n", want: []string{"1: nats.password_env: needs user as well"}},
		{name: "password twice", text: "nats:\n  url: nats://h\n  user: u\n  password_file: p\n  password_env: P\n", want: []string{
			"5: nats.password_env: password_file and password_env are both set: keep one of them",
		}},
		{name: "certificate without key", text: "nats: {url: tls://h, tls: {cert_file: c}}\n", want: []string{"1: nats.tls.cert_file: needs key_file as well"}},
		{name: "key without certificate", text: "nats: {url: tls://h, tls: {key_file: k}}\n", want: []string{"1: nats.tls.key_file: needs cert_file as well"}},
		{name: "credentials without url", text: "nats: {credentials_file: c}\n", want: []string{"1: nats.credentials_file: " + external}},
		{name: "nkey without url", text: "nats: {nkey_file: c}\n", want: []string{"1: nats.nkey_file: " + external}},
		{name: "user without url", text: "nats: {user: u, password_file: p}\n", want: []string{"1: nats.user: " + external}},
		{name: "token without url", text: "nats: {token_env: T}\n", want: []string{"1: nats.token_env: " + external}},
		{name: "exposed", text: "nats:\n  embedded:\n    listen: 0.0.0.0:4222\n", want: []string{"3: nats.embedded.listen: " + exposed}},
		{name: "exposed everywhere", text: "nats: {embedded: {listen: ':4222'}}\n", want: []string{"1: nats.embedded.listen: " + exposed}},
		{name: "exposed by name", text: "nats: {embedded: {listen: 'example.com:4222'}}\n", want: []string{"1: nats.embedded.listen: " + exposed}},
		{name: "exposed with TLS only", text: "nats: {embedded: {listen: ':4222', tls: {cert_file: c, key_file: k}}}\n", want: []string{"1: nats.embedded.listen: " + exposed}},
		{name: "listen", text: "nats: {embedded: {listen: '4222'}}\n", want: []string{"1: nats.embedded.listen: must be host:port, such as 127.0.0.1:4222"}},
		{name: "server certificate without key", text: "nats: {embedded: {tls: {cert_file: c}}}\n", want: []string{"1: nats.embedded.tls.cert_file: needs key_file as well"}},
		{name: "client authority without certificate", text: "nats: {embedded: {tls: {client_ca_file: c}}}\n", want: []string{
			"1: nats.embedded.tls.client_ca_file: needs cert_file and key_file as well",
		}},
	})
}

func TestAtlasProblems(t *testing.T) {
	const (
		host   = "must be scheme and host only, without path, query and fragment"
		secure = "must begin with https://; http:// is for 127.0.0.1, ::1 and localhost only"
	)
	runProblemTests(t, []problemTest{
		{name: "base URL without scheme", text: "atlas: {base_url: cloud.mongodb.com}\n", want: []string{"1: atlas.base_url: must be a URL such as https://cloud.mongodb.com"}},
		{name: "base URL with other scheme", text: "atlas: {base_url: ftp://h}\n", want: []string{"1: atlas.base_url: must be a URL such as https://cloud.mongodb.com"}},
		{name: "base URL with login", text: "atlas: {base_url: 'https://u:" + canary + "@h'}\n", want: []string{
			"1: atlas.base_url: must not hold a user or password: secrets are never written here",
		}},
		{name: "base URL with path", text: "atlas: {base_url: https://h/api}\n", want: []string{"1: atlas.base_url: " + host}},
		{name: "base URL with query", text: "atlas: {base_url: 'https://h?a=" + canary + "'}\n", want: []string{"1: atlas.base_url: " + host}},
		{name: "base URL with empty query", text: "atlas: {base_url: 'https://h?'}\n", want: []string{"1: atlas.base_url: " + host}},
		{name: "base URL with fragment", text: "atlas: {base_url: 'https://h#a'}\n", want: []string{"1: atlas.base_url: " + host}},
		{name: "plain base URL", text: "atlas: {base_url: http://cloud.mongodb.com}\n", want: []string{"1: atlas.base_url: " + secure}},
		{name: "plain base URL that looks local", text: "atlas: {base_url: http://127.0.0.1.example.com}\n", want: []string{"1: atlas.base_url: " + secure}},
		{name: "x509 path", text: "atlas: {x509_api: v3}\n", want: []string{"1: atlas.x509_api: must be one of v2, v1.0"}},
	})
}

func TestAccountProblems(t *testing.T) {
	const (
		id   = "client_id: mdb_sa_id_0123456789abcdef01234567"
		both = "is either a service account (client_id, client_secret_file or client_secret_env) " +
			"or an API key (public_key, private_key_file or private_key_env), not both"
		none = "needs client_id with client_secret_file or client_secret_env, or public_key with private_key_file or private_key_env"
	)
	tests := []struct{ name, account, want string }{
		{name: "no name", account: id + ", client_secret_env: S", want: ".name: is required"},
		{name: "bad name", account: "name: A b, " + id + ", client_secret_env: S", want: ".name: must be 1 to 64 lower-case letters, digits, - and _"},
		{name: "long name", account: "name: " + strings.Repeat("a", 65) + ", " + id + ", client_secret_env: S", want: ".name: must be 1 to 64 lower-case letters, digits, - and _"},
		{name: "nothing", account: "name: a", want: ": " + none},
		{name: "both", account: "name: a, " + id + ", client_secret_env: S, public_key: k, private_key_env: K", want: ": " + both},
		{name: "halves of both", account: "name: a, " + id + ", private_key_env: K", want: ": " + both},
		{name: "no client secret", account: "name: a, " + id, want: ".client_secret_file: is required, or client_secret_env"},
		{name: "no client id", account: "name: a, client_secret_file: /s", want: ".client_id: is required with client_secret_file or client_secret_env"},
		{name: "no private key", account: "name: a, public_key: k", want: ".private_key_file: is required, or private_key_env"},
		{name: "no public key", account: "name: a, private_key_env: K", want: ".public_key: is required with private_key_file or private_key_env"},
		{name: "two client secrets", account: "name: a, " + id + ", client_secret_file: /s, client_secret_env: S", want: ".client_secret_env: client_secret_file and client_secret_env are both set: keep one of them"},
		{name: "bad client id", account: "name: a, client_id: mdb_sa_sk_" + canary + ", client_secret_env: S", want: ".client_id: must be mdb_sa_id_ and 24 hexadecimal digits"},
		{name: "bad public key", account: "name: a, public_key: 'a b', private_key_env: S", want: ".public_key: must be 1 to 64 letters, digits, - and _"},
		{name: "inline client secret", account: "name: a, " + id + ", client_secret: " + canary, want: ".client_secret: secrets are never written here: name a file with client_secret_file or an environment variable with client_secret_env"},
		{name: "inline private key", account: "name: a, public_key: k, private_key: {" + canary + ": 1}", want: ".private_key: secrets are never written here: name a file with private_key_file or an environment variable with private_key_env"},
		{name: "other inline secret", account: "name: a, " + id + ", client_secret_env: S, token: " + canary, want: ".token: unknown key; secrets are never written here, but kept in a file or an environment variable; the keys here are name, client_id, client_secret_file, client_secret_env, public_key, private_key_file, private_key_env, secret_expires_at, allow_self"},
		{name: "misspelt inline secret", account: "name: a, " + id + ", clientSecret: " + canary, want: ".clientSecret: unknown key; secrets are never written here, but kept in a file or an environment variable; did you mean client_secret_file?"},
		{name: "secret as file", account: "name: a, " + id + ", client_secret_file: mdb_sa_sk_" + canary, want: ".client_secret_file: looks like the secret itself: it must be the path of a file that holds it"},
		{name: "secret as variable", account: "name: a, " + id + ", client_secret_env: mdb_sa_sk_" + canary, want: ".client_secret_env: looks like the secret itself: it must be the name of an environment variable that holds it"},
		{name: "private key as file", account: "name: a, public_key: k, private_key_file: 01234567-89ab-cdef-0123-456789abcdef", want: ".private_key_file: looks like the secret itself: it must be the path of a file that holds it"},
		{name: "bad variable", account: "name: a, " + id + ", client_secret_env: $" + canary, want: ".client_secret_env: must be the name of an environment variable: letters, digits and _"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, got := parse(t, "atlas:\n  accounts:\n    - {"+tt.account+"}\n")
			if want := "3: atlas.accounts[0]" + tt.want; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestInlineSecretProblems(t *testing.T) {
	inline := func(key string) string {
		return key + ": secrets are never written here: name a file with " + key + "_file or an environment variable with " + key + "_env"
	}
	runProblemTests(t, []problemTest{
		{name: "password", text: "nats: {url: nats://h, user: u, password: " + canary + "}\n", want: []string{"1: nats." + inline("password")}},
		{name: "token", text: "nats: {url: nats://h, token: " + canary + "}\n", want: []string{"1: nats." + inline("token")}},
		{name: "token list", text: "nats: {url: nats://h, token: [" + canary + "]}\n", want: []string{"1: nats." + inline("token")}},
		{name: "embedded token", text: "nats: {embedded: {listen: ':4222', token: " + canary + "}}\n", want: []string{"1: nats.embedded." + inline("token")}},
		{name: "null token", text: "nats: {token: }\n", want: []string{"1: nats." + inline("token")}},
		{name: "nkey", text: "nats: {url: nats://h, nkey: " + canary + "}\n", want: []string{
			"1: nats.nkey: unknown key; secrets are never written here, but kept in a file or an environment variable; did you mean nkey_file?",
		}},
		{name: "seed as file", text: "nats: {url: nats://h, nkey_file: SU" + strings.Repeat("A", 56) + "}\n", want: []string{
			"1: nats.nkey_file: looks like the secret itself: it must be the path of a file that holds it",
		}},
	})
}

func TestAccountNames(t *testing.T) {
	text := "atlas:\n  accounts:\n" +
		"    - name: a\n      public_key: k\n      private_key_env: K\n" +
		"    - public_key: k\n      private_key_env: K\n      name: a\n"
	_, got := parse(t, text)
	if want := "8: atlas.accounts[1].name: is taken: the same name is on line 3"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSealProblems(t *testing.T) {
	runProblemTests(t, []problemTest{
		{name: "plaintext", text: "intake: {plaintext: maybe}\n", want: []string{"1: intake.plaintext: must be one of seal, refuse, allow"}},
		{name: "a key without a place", text: "seal:\n  keys:\n    - {}\n", want: []string{"3: seal.keys[0]: needs seed_file or seed_env"}},
		{name: "two places", text: "seal: {keys: [{seed_file: /a, seed_env: B}]}\n", want: []string{
			"1: seal.keys[0].seed_env: seed_file and seed_env are both set: keep one of them",
		}},
		{name: "inline seed", text: "seal: {keys: [{seed: " + canary + "}]}\n", want: []string{
			"1: seal.keys[0].seed: secrets are never written here: name a file with seed_file or an environment variable with seed_env",
		}},
		{name: "seed as file", text: "seal: {keys: [{seed_file: SX" + strings.Repeat("A", 56) + "}]}\n", want: []string{
			"1: seal.keys[0].seed_file: looks like the secret itself: it must be the path of a file that holds it",
		}},
	})
}

func TestStoreProblems(t *testing.T) {
	runProblemTests(t, []problemTest{
		{name: "no token", text: "vault: {address: 'https://v'}\n", want: []string{"1: vault.address: needs token_file or token_env as well"}},
		{name: "no address", text: "vault: {token_file: /t}\n", want: []string{"1: vault.token_file: needs vault.address as well"}},
		{name: "no TLS", text: "vault: {address: 'http://v', token_file: /t}\n", want: []string{
			"1: vault.address: must begin with https://; http:// is for 127.0.0.1, ::1 and localhost only",
		}},
		{name: "a password", text: "vault: {address: 'https://u:" + canary + "@v', token_file: /t}\n", want: []string{
			"1: vault.address: must be a URL such as https://vault.example.com:8200",
		}},
		{name: "path", text: "vault: {paths: [/, a/*]}\n", want: []string{
			"1: vault.paths[0]: must be a path below the mount, such as rekey/leaked; no list at all allows every path",
			"1: vault.paths[1]: must be a path below the mount, such as rekey/leaked; no list at all allows every path",
		}},
		{name: "timeout", text: "vault: {timeout: 1h}\n", want: []string{"1: vault.timeout: must be from 100ms to 1m, not 1h"}},
		{name: "token files", text: "intake: {token_files: [/run/a, run/b, /run/../etc]}\n", want: []string{
			"1: intake.token_files[1]: must be an absolute path", "1: intake.token_files[2]: must be an absolute path",
		}},
	})
}

func TestProofProblems(t *testing.T) {
	runProblemTests(t, []problemTest{
		{name: "words", text: "proof: {on_revert: again, on_still_alive: repeat}\n", want: []string{
			"1: proof.on_revert: must be one of alert, repeat", "1: proof.on_still_alive: must be one of alert, retry",
		}},
		{name: "times", text: "proof: {within: 25h, watch: 8761h, max_repeats: 0}\n", want: []string{
			"1: proof.within: must be from 0s to 24h, not 25h", "1: proof.watch: must be from 0s to 8760h, not 8761h",
			"1: proof.max_repeats: must be from 1 to 100, not 0",
		}},
		{name: "no looks", text: "proof: {looks: []}\n", want: []string{"1: proof.looks: needs a look at least, as proof.watch is 168h"}},
		{name: "looks", text: "proof:\n  looks: [1h, 1h, 500ms]\n", want: []string{
			"2: proof.looks[1]: must be later than the look before it, which is 1h", "2: proof.looks[2]: must be from 1s to 8760h, not 500ms",
		}},
		{name: "a probe that is no switch", text: "proof: {probe: never}\n", want: []string{"1: proof.probe: must be true or false, not a string"}},
	})
}

func TestDomainProblems(t *testing.T) {
	const want = "1: nats.domain: must be the name of a JetStream domain, one word without dots, such as hub"
	for _, bad := range []string{"a.b", "$JS.hub.API", "h*", "two words", "hub."} {
		runProblemTests(t, []problemTest{{name: bad, text: "nats: {url: nats://h, domain: '" + bad + "'}\n", want: []string{want}}})
	}
	runProblemTests(t, []problemTest{{
		name: "embedded", text: "nats: {domain: hub}\n",
		want: []string{"1: nats.domain: is for an external server and needs nats.url"},
	}})
}

func TestInboxPrefixProblems(t *testing.T) {
	const want = "1: nats.inbox_prefix: must be letters, digits, - and _, in parts with dots between them, such as _INBOX_READER"
	for _, bad := range []string{"_INBOX.>", "a..b", "a b", "*"} {
		runProblemTests(t, []problemTest{{name: bad, text: "nats: {inbox_prefix: '" + bad + "'}\n", want: []string{want}}})
	}
}

func TestSignatureProblems(t *testing.T) {
	if _, got := parse(t, "intake: {signatures: off}\n"); got != "" {
		t.Errorf("without quotes, off is no word: %s", got)
	}
	const signed = "intake: {signatures: required, signers: [{source: x, public_keys: [UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4]}]}\n"
	const overHTTP = "1: intake.signatures: needs signing_seed_file or signing_seed_env as well: the worker publishes what comes through doors and from clients " +
		"of the API, and would refuse it"
	runProblemTests(t, []problemTest{
		{name: "no signers", text: "intake: {signatures: required}\n", want: []string{"1: intake.signatures: needs signers as well: without them no event is taken in"}},
		{name: "another word", text: "intake: {signatures: yes please}\n", want: []string{"1: intake.signatures: must be one of off, required"}},
		{name: "window", text: "intake: {replay_window: 48h}\n", want: []string{"1: intake.replay_window: must be from 1s to 24h, not 48h"}},
		{name: "no source", text: "intake:\n  signers:\n    - {public_keys: [U" + strings.Repeat("A", 55) + "]}\n", want: []string{
			"3: intake.signers[0].source: is required: a CloudEvents source, or the beginning of several and a *",
		}},
		{name: "no key", text: "intake:\n  signers:\n    - {source: a}\n", want: []string{
			"3: intake.signers[0].public_keys: is required: users' public nkeys, such as nk -gen user -pubout makes",
		}},
		{name: "a seed for a key", text: "intake:\n  signers:\n    - {source: a, public_keys: [SU" + canary + "]}\n", want: []string{
			"3: intake.signers[0].public_keys[0]: must be a user's public nkey: U and 55 characters",
		}},
		{
			name: "schedules", text: signed + "atlas: {accounts: [{name: a, public_key: k, private_key_env: K}]}\n" +
				"schedules: [{name: s, cron: '@daily', job: {kind: x509.disable, params: {project_id: \"012345678901234567890123\"}}}]\n",
			want: []string{"1: intake.signatures: needs signing_seed_file or signing_seed_env as well: schedules publish events, too"},
		},
		{name: "repeats", text: signed + "proof: {on_revert: repeat}\n", want: []string{
			"1: intake.signatures: needs signing_seed_file or signing_seed_env as well: proof.on_revert: repeat publishes events, too",
		}},
		{name: "doors", text: signed + "api: {listen: '127.0.0.1:1', doors: [{name: d, type: bearer, token_env: T}]}\n", want: []string{overHTTP}},
		{name: "clients that ask", text: signed + "api: {listen: '127.0.0.1:1', clients: [{name: c, token_env: T, may: [read, events]}]}\n", want: []string{overHTTP}},
	})
}

// kindList are all kinds, as errors list them.
func kindList() string { return strings.Join(jobs.Names(jobs.Kinds()), ", ") }
