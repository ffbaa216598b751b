package config_test

import "testing"

func TestDoorProblems(t *testing.T) {
	const base, types = "api: {doors: [{name: a, type: ", "github, gitlab_revocation, standard_webhooks, gitguardian, pagerduty, atlas, slack, teams, bearer, basic, mtls, none, caep"
	const several = "atlas: {accounts: [{name: x, public_key: abcdefgh, private_key_env: P}, {name: y, public_key: abcdefgi, private_key_env: Q}]}\n"
	runProblemTests(t, []problemTest{
		{name: "no name, no type", text: "api:\n  doors:\n    - class: incident\n", want: []string{
			"3: api.doors[0].name: is required",
			"3: api.doors[0].type: is required: one of github, gitlab_revocation, standard_webhooks, gitguardian, pagerduty, atlas, slack, teams, bearer, basic, mtls, none and caep",
		}},
		{name: "type", text: base + "x}]}\n", want: []string{"1: api.doors[0].type: must be one of " + types}},
		{name: "name twice", text: "api:\n  doors:\n  - {name: a, type: none}\n  - {name: a, type: none}\n", want: []string{
			"4: api.doors[1].name: is taken: the same name is on line 3",
		}},
		{name: "no secret", text: base + "github}]}\n", want: []string{"1: api.doors[0]: needs secret_file or secret_env: doors of the type github have it"}},
		{name: "secret in the file", text: base + "github, secret: " + canary + "}]}\n", want: []string{
			"1: api.doors[0].secret: secrets are never written here: name a file with secret_file or an environment variable with secret_env",
		}},
		{name: "secret instead of a path", text: base + "standard_webhooks, secret_file: whsec_" + canary + "}]}\n", want: []string{
			"1: api.doors[0].secret_file: looks like the secret itself: it must be the path of a file that holds it",
		}},
		{name: "keys of other types", text: base + "github, secret_env: S, token_env: T, tolerance: 1m, direct: false}]}\n", want: []string{
			"1: api.doors[0].token_env: is not for doors of the type github", "1: api.doors[0].tolerance: is not for doors of the type github",
			"1: api.doors[0].direct: is not for doors of the type github",
		}},
		{name: "no user", text: base + "basic, password_env: P}]}\n", want: []string{"1: api.doors[0]: needs user: doors of the type basic have it"}},
		{name: "class", text: base + "none, class: operator}, {name: b, type: none, class: a b}]}\n", want: []string{
			"1: api.doors[0].class: is a class of Rekey's own: only commands and schedules publish it",
			"1: api.doors[1].class: must be one to four words of letters, digits, - and _, with dots between them",
		}},
		{name: "tolerance", text: base + "slack, secret_env: S, tolerance: 2h}]}\n", want: []string{"1: api.doors[0].tolerance: must be from 10s to 1h, not 2h"}},
		{name: "no authorities", text: base + "mtls, cert_names: [a]}]}\n", want: []string{"1: api.doors[0].type: needs api.tls.client_ca_file as well"}},
		{name: "beyond this machine", text: "api: {listen: '0.0.0.0:1', tls: {cert_file: c, key_file: k}, doors: [{name: a, type: none}]}\n", want: []string{
			"1: api.doors[0].type: is for processes on this machine, and api.listen is beyond it",
		}},
		{name: "no keys", text: base + "caep, issuer: 'https://a', audience: b}]}\n", want: []string{"1: api.doors[0]: needs jwks_file or jwks_url: doors of the type caep have one"}},
		{name: "keys twice", text: base + "caep, issuer: 'https://a', audience: b, jwks_file: c, jwks_url: 'https://d'}]}\n", want: []string{
			"1: api.doors[0].jwks_url: and jwks_file are both set: keep one of them",
		}},
		{name: "addresses", text: base + "caep, issuer: 'https://a', audience: b, jwks_url: 'http://d', poll_url: x, verification_url: 'https://e'}]}\n", want: []string{
			"1: api.doors[0].jwks_url: must begin with https://; http:// is for 127.0.0.1, ::1 and localhost only",
			"1: api.doors[0].poll_url: must be a URL such as https://idp.example.com/ssf",
			"1: api.doors[0].verification_url: needs stream_id as well",
		}},
		{name: "GitLab's account and hints", text: several + base + "gitlab_revocation, token_env: T, params: {org_id: x, secret: y}}]}\n", want: []string{
			"2: api.doors[0].account: is required, as there are several accounts: x and y",
			"2: api.doors[0].params.org_id: must be 24 lower-case hexadecimal digits",
			"2: api.doors[0].params.secret: is what the sender hands over",
		}},
	})
}
