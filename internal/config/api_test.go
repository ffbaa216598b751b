package config_test

import "testing"

func TestAPIProblems(t *testing.T) {
	client := func(more string) string {
		return "api:\n  listen: 127.0.0.1:9465\n  clients:\n    - {name: soar, " + more + "}\n"
	}
	runProblemTests(t, []problemTest{
		{name: "good", text: client("token_file: /run/t, may: [read], rate: 60"), want: []string{""}},
		{name: "beyond loopback", text: "api: {listen: \":9465\"}\n", want: []string{
			"1: api.listen: is beyond loopback, where tokens and secrets would be readable on the way: set api.tls with cert_file and key_file, or listen on 127.0.0.1",
		}},
		{name: "beyond loopback with TLS", text: "api: {listen: \":9465\", tls: {cert_file: a.crt, key_file: a.key}}\n", want: []string{""}},
		{name: "half of TLS", text: "api: {listen: \":9465\", tls: {cert_file: a.crt}}\n", want: []string{"1: api.tls.cert_file: needs key_file as well"}},
		{name: "no way to recognise it", text: client("may: [read]"), want: []string{"4: api.clients[0]: needs token_file or token_env, or cert_name, or claims"}},
		{name: "two ways", text: client("token_file: /run/t, claims: {sub: x}, may: [read]"), want: []string{
			"4: api.clients[0]: only one way to recognise it may be set, here are token_file and claims",
			"4: api.clients[0].claims: needs api.oidc.issuer as well, or api.console.proxy",
		}},
		{name: "a certificate without authorities", text: client("cert_name: soar, may: [read]"), want: []string{"4: api.clients[0].cert_name: needs api.tls.client_ca_file as well"}},
		{name: "nothing that it may", text: client("token_file: /run/t"), want: []string{
			"4: api.clients[0]: needs may, a list of what it may do: submit, read, cancel, retry, replay, drop, operate and events",
		}},
		{name: "one port twice", text: "http: {listen: \"0.0.0.0:9465\"}\napi: {listen: \"127.0.0.1:9465\"}\n", want: []string{"2: api.listen: has the port of http.listen"}},
		{name: "one port of two addresses", text: "http: {listen: \"127.0.0.2:9465\"}\napi: {listen: \"127.0.0.1:9465\"}\n", want: []string{""}},
		{name: "an unknown permission", text: client("token_file: /run/t, may: [write]"), want: []string{
			"4: api.clients[0].may[0]: must be one of submit, read, cancel, retry, replay, drop, operate, events",
		}},
		{name: "claims of a proxy", text: client("claims: {groups: ir}, may: [read]") + "  console: {proxy: {addresses: [10.0.0.0/8, \"::1\"], user_header: X-User}}\n", want: []string{""}},
		{name: "a console", text: "api: {public_url: \"https://rekey.example.com\", oidc: {issuer: \"https://idp.example.com\", audience: rekey}, console: {client_id: c, client_secret_file: /run/c}}\n", want: []string{""}},
		{name: "a console without its issuer", text: "api: {console: {client_id: c}}\n", want: []string{
			"1: api.public_url: is required with console.client_id: the issuer sends the browser back to it",
			"1: api.console.client_id: needs api.oidc.issuer as well",
		}},
		{name: "a page of traces", text: "api: {console: {trace_url: \"https://traces.example.com/trace/{trace_id}\"}}\n", want: []string{""}},
		{name: "a page of no trace", text: "api: {console: {trace_url: \"https://traces.example.com/\"}}\n", want: []string{
			"1: api.console.trace_url: must be a URL with {trace_id} in it, such as https://traces.example.com/trace/{trace_id}",
		}},
		{name: "half a proxy", text: "api: {console: {proxy: {addresses: [localhost]}}}\n", want: []string{
			"1: api.console.proxy: needs addresses and user_header, both or neither",
			"1: api.console.proxy.addresses[0]: must be an IP address or a range, such as 192.0.2.7 or 10.0.0.0/8",
		}},
		{name: "no header", text: "api: {console: {proxy: {addresses: [\"::1\"], user_header: \"X User\"}}}\n", want: []string{
			"1: api.console.proxy.user_header: must be the name of a header, such as X-Forwarded-User",
		}},
		{name: "times and address of a console", text: "api: {public_url: \"https://rekey.example.com/x\", console: {idle: 1s, session: 1000h}}\n", want: []string{
			"1: api.public_url: must be a scheme and a host, such as https://rekey.example.com",
			"1: api.console.idle: must be from 1m to 24h, not 1s",
			"1: api.console.session: must be from 1m to 168h, not 1000h",
		}},
		{name: "a class of commands", text: client("token_file: /run/t, may: [events], classes: [operator]"), want: []string{
			"4: api.clients[0].classes[0]: is a class of Rekey's own: only commands and schedules publish it",
		}},
		{name: "no audience", text: "api: {oidc: {issuer: \"https://idp.example.com\"}}\n", want: []string{
			"1: api.oidc.issuer: needs audience as well: a token that was made for another service must not be accepted",
		}},
		{name: "an issuer in the clear", text: "api: {oidc: {issuer: \"http://idp.example.com\", audience: rekey}}\n", want: []string{
			"1: api.oidc.issuer: must begin with https://; http:// is for 127.0.0.1, ::1 and localhost only",
		}},
	})
}
