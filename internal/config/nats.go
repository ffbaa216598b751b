package config

import (
	"net"
	"slices"
	"strings"

	"rekey/internal/lazyregexp"
	"rekey/internal/secret"
)

// NATS says which server holds the streams, and how to log in to it. At most one of
// credentials file, nkey, user and token is set, and only with an external server; a TLS
// client certificate goes with any of them.
type NATS struct {
	// URL is one address or several with commas, with the schemes nats, tls, ws or wss.
	// Empty, the default, means the embedded server.
	URL string `yaml:"url"`
	// Namespace begins all subjects and the names of all streams. Default and empty: rekey.
	Namespace string `yaml:"namespace"`
	// Replicas is how many servers keep a copy of each stream: 1 (default), 3 or 5; 1 with the embedded server.
	Replicas int `yaml:"replicas"`
	// CredentialsFile is the path of a .creds file (user JWT and seed). Empty: not used. This and the
	// secrets below are read for each connection.
	CredentialsFile string `yaml:"credentials_file" secret:"lines"`
	// NKeyFile is the path of a file with a user's nkey seed. Empty: not used.
	NKeyFile string `yaml:"nkey_file" secret:"file"`
	// User is a user name; it needs a Password. Empty: not used.
	User string `yaml:"user"`
	// Password is that of User.
	Password secret.Ref `yaml:"password"`
	// Token is the server's authentication token. Zero: not used.
	Token secret.Ref `yaml:"token"`
	// InboxPrefix begins the subjects on which answers come back, where a server gives each role
	// inboxes of its own. Default and empty: _INBOX.
	InboxPrefix string `yaml:"inbox_prefix"`
	// Domain is the JetStream domain that has the streams, where the server is a leaf node of another one or has a domain
	// of its own. Default and empty: the JetStream of the server itself.
	Domain string `yaml:"domain"`
	// TLS is for connections to an external server, and of commands to an embedded server that has TLS.
	TLS      ClientTLS `yaml:"tls"`
	Embedded Embedded  `yaml:"embedded"`
}

// IsEmbedded reports whether the worker starts a NATS server of its own.
func (n NATS) IsEmbedded() bool { return n.URL == "" }

// ClientTLS says how to recognise a server, and how to be recognised by it.
type ClientTLS struct {
	// CAFile is a PEM file with the authorities that may sign the server's certificate. Empty: those of the system.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are PEM files with our certificate and its key, read for each connection. Both or neither
	// (the default) are set.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file" secret:"lines"`
}

// Embedded is the NATS server inside the worker, used when NATS.URL is empty.
type Embedded struct {
	// Listen is host:port for other clients. Default 127.0.0.1:4222; empty keeps the server inside the process.
	Listen string `yaml:"listen"`
	// StoreDir is the folder of the streams, made when it is missing. Default and empty: ./data.
	StoreDir string `yaml:"store_dir"`
	// Token is what clients must present. Zero: none, which is refused beyond loopback
	// unless TLS client certificates are required.
	Token secret.Ref `yaml:"token"`
	TLS   ServerTLS  `yaml:"tls"`
	// EncryptionKeyFile is a file with the key by which the server encrypts its files. Empty: they
	// are not encrypted. A store keeps the key that it was made with.
	EncryptionKeyFile string `yaml:"encryption_key_file" secret:"file"`
	// MaxPayloadMiB is the largest message in MiB, 1 to 64. Default 8.
	MaxPayloadMiB int `yaml:"max_payload_mib"`
}

// ServerTLS is the certificate of the embedded server, and whose clients it lets in.
type ServerTLS struct {
	// CertFile and KeyFile are PEM files. Both or neither are set; neither (the default) means no TLS.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file" secret:"lines"`
	// ClientCAFile is a PEM file with the authorities whose client certificates are required. Empty: none is asked for.
	ClientCAFile string `yaml:"client_ca_file"`
}

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
