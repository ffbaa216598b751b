package config

import (
	"net"
	"slices"
	"strings"

	"rekey/internal/lazyregexp"
)

// properNamespace is what both NATS subjects and the names of streams and buckets allow.
var properNamespace = lazyregexp.New(`^[A-Za-z0-9_-]{1,64}$`)

// properInbox is a subject without wildcards.
var properInbox = lazyregexp.New(`^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,3}$`)

// properDomain is one token of a subject, as a server's jetstream block names its domain.
var properDomain = lazyregexp.New(`^[A-Za-z0-9_-]{1,64}$`)

func (c *checker) nats() {
	n := c.cfg.NATS
	if !properNamespace.MatchString(n.Namespace) {
		c.add("nats.namespace", "must be 1 to 64 letters, digits, - and _")
	}
	if n.Replicas != 1 && n.Replicas != 3 && n.Replicas != 5 {
		c.add("nats.replicas", "must be 1, 3 or 5, not %d", n.Replicas)
	}
	if n.InboxPrefix != "" && !properInbox.MatchString(n.InboxPrefix) {
		c.add("nats.inbox_prefix", "must be letters, digits, - and _, in parts with dots between them, such as _INBOX_READER")
	}
	if n.Domain != "" && !properDomain.MatchString(n.Domain) {
		c.add("nats.domain", "must be the name of a JetStream domain, one word without dots, such as hub")
	}
	c.natsURL(n.URL)
	c.natsAuth()
	c.pair("nats.tls", "cert_file", n.TLS.CertFile, "key_file", n.TLS.KeyFile)
	c.embedded(n.Embedded)
	// Without a known URL it is not known either which of the two servers is meant.
	if n.IsEmbedded() && !c.unsure("nats.url") {
		c.embeddedInUse()
	}
}

// natsURL checks the address of an external server. It must be free of secrets, as addresses
// appear in logs and errors.
func (c *checker) natsURL(list string) {
	if list == "" {
		return
	}
	var schemes []string
	for address := range strings.SplitSeq(list, ",") {
		u, ok := parseURL(strings.TrimSpace(address))
		switch {
		case !ok || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			c.add("nats.url", "must be nats://host:port, or tls://, ws:// or wss://; several are separated by commas")
			return
		case u.User != nil:
			c.add("nats.url", "must not hold a user, password or token: secrets are never written here, "+
				"use user with password_file or password_env, or token_file or token_env")
			return
		case u.RawQuery != "" || u.Fragment != "":
			c.add("nats.url", "must not have a query or fragment")
			return
		}
		schemes = append(schemes, u.Scheme)
	}
	web := slices.DeleteFunc(slices.Clone(schemes), func(scheme string) bool { return !strings.HasPrefix(scheme, "ws") })
	if len(web) > 0 && len(web) < len(schemes) {
		c.add("nats.url", "must not mix ws:// or wss:// with other schemes")
	}
}

// natsAuth checks that there is at most one way to log in to the external server.
func (c *checker) natsAuth() {
	n := c.cfg.NATS
	var ways, paths []string
	way := func(set bool, name, path string) {
		if set {
			ways, paths = append(ways, name), append(paths, path)
		}
	}
	way(n.CredentialsFile != "", "credentials_file", "nats.credentials_file")
	way(n.NKeyFile != "", "nkey_file", "nats.nkey_file")
	password := refPath("nats.password", n.Password)
	way(n.User != "", "user", "nats.user")
	way(n.User == "" && !n.Password.IsZero(), "password", password)
	way(!n.Token.IsZero(), "token", refPath("nats.token", n.Token))
	if len(ways) > 1 {
		c.add(paths[len(paths)-1], "only one way to log in may be set, here are %s", list(ways))
		return
	}
	switch {
	case n.User != "" && !c.given("nats.password", n.Password):
		c.add("nats.user", "needs password_file or password_env as well")
	case n.User == "" && !n.Password.IsZero() && !c.anySpoilt("nats.user"):
		c.add(password, "needs user as well")
	}
}

// embedded checks the settings of the embedded server, whether it is used or not.
func (c *checker) embedded(e Embedded) {
	c.number("nats.embedded.max_payload_mib", e.MaxPayloadMiB, 1, 64)
	c.pair("nats.embedded.tls", "cert_file", e.TLS.CertFile, "key_file", e.TLS.KeyFile)
	if e.TLS.ClientCAFile != "" && e.TLS.CertFile == "" && e.TLS.KeyFile == "" &&
		!c.anySpoilt("nats.embedded.tls.cert_file", "nats.embedded.tls.key_file") {
		c.add("nats.embedded.tls.client_ca_file", "needs cert_file and key_file as well")
	}
	if e.Listen != "" {
		c.listenAddress("nats.embedded.listen", e.Listen)
	}
}

// embeddedInUse checks what matters only when the embedded server is the one in use.
func (c *checker) embeddedInUse() {
	n := c.cfg.NATS
	if n.Replicas > 1 {
		c.add("nats.replicas", "must be 1 with the embedded server: there is nothing to copy to; set nats.url for a cluster")
	}
	if n.Domain != "" {
		c.add("nats.domain", "is for an external server and needs nats.url")
	}
	// An operator who sets one of these without a URL may believe that it protects the embedded
	// server. Not so with tls: commands use it to talk to an embedded server that has TLS.
	for _, external := range []struct{ path, value string }{
		{"nats.credentials_file", n.CredentialsFile},
		{"nats.nkey_file", n.NKeyFile},
		{"nats.user", n.User},
		{refPath("nats.token", n.Token), n.Token.File + n.Token.Env},
	} {
		if external.value != "" {
			c.add(external.path, "is for an external server and needs nats.url; the embedded server is protected by nats.embedded")
			break // All of them wait for the same URL.
		}
	}
	c.exposed(n.Embedded)
}

// exposed refuses an embedded server that strangers could use.
func (c *checker) exposed(e Embedded) {
	if e.Listen == "" || c.spoilt["nats.embedded.listen"] {
		return
	}
	host, _, err := net.SplitHostPort(e.Listen)
	if err != nil || isLoopback(host) {
		return // What cannot be split is reported already.
	}
	if e.TLS.ClientCAFile == "" && !c.unsure("nats.embedded.tls.client_ca_file") && !c.given("nats.embedded.token", e.Token) {
		c.add("nats.embedded.listen", "is beyond loopback, where any client could ask for revocations: "+
			"set token_file or token_env, or tls with client_ca_file, or listen on 127.0.0.1")
	}
}
