package config

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/lazyregexp"
	"rekey/internal/secret"
)

// API is the HTTP API, for automation that does not speak NATS.
type API struct {
	// Listen is host:port. Beyond this machine it needs TLS. Default and empty: there is no API.
	Listen string `yaml:"listen"`
	TLS    APITLS `yaml:"tls"`
	// OIDC says whose tokens are accepted besides those of Clients. Its changes are taken over without a restart.
	OIDC OIDC `yaml:"oidc" reload:"live"`
	// PublicURL is how browsers reach this listener, such as https://rekey.example.com. Default and empty: not known; then there
	// is no login by OIDC, and links lead nowhere.
	PublicURL string `yaml:"public_url"`
	// Console is who may look at the pages of this listener, and how they log in. Changes are taken over without a restart.
	Console Console `yaml:"console" reload:"live"`
	// Clients are those who may ask. Default none: then every request is refused.
	Clients []APIClient `yaml:"clients" reload:"live"`
	// Doors are where senders post what happens, each at /in/ and its name. Default none.
	Doors []Door `yaml:"doors" reload:"live"`
}

// APITLS is the certificate of the API, and whose clients' certificates are accepted. The files are read again when they change.
type APITLS struct {
	// CertFile and KeyFile are PEM files. Both or neither are set; neither (the default) means no TLS.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file" secret:"lines"`
	// ClientCAFile is a PEM file with the authorities whose client certificates are accepted. Empty: none is asked for.
	ClientCAFile string `yaml:"client_ca_file"`
}

// OIDC is an issuer of OpenID Connect whose tokens (JWT) clients may present.
type OIDC struct {
	// Issuer is its URL, below which its keys are found, https but for this machine. Empty, the default: no such token is accepted.
	Issuer string `yaml:"issuer"`
	// Audience must be among those of the token. Required with Issuer.
	Audience string `yaml:"audience"`
	// CAFile is a PEM file with the authorities that may sign the issuer's certificate. Empty: those of the system.
	CAFile string `yaml:"ca_file"`
}

// Console says how persons log in to the console of the API's listener: with the token of a client, and in the ways that are set here.
// A person may do what the client may whose Claims they have.
type Console struct {
	// Off serves no console there. Default false.
	Off bool `yaml:"off"`
	// Idle is after how long without a page a session ends: 1m to 24h. Default 30m.
	Idle time.Duration `yaml:"idle"`
	// Session is after how long it ends in any case: 1m to 168h. Default 12h.
	Session time.Duration `yaml:"session"`
	// ClientID is the id under which api.oidc.issuer knows the console. Empty, the default: there is no login by OIDC.
	ClientID string `yaml:"client_id"`
	// ClientSecret is the secret that goes with ClientID. Zero: none; the issuer takes the console for a public client.
	ClientSecret secret.Ref `yaml:"client_secret"`
	// TraceURL is where a trace is shown, with {trace_id} in it: the story of a job leads there. Empty, the default: nowhere.
	TraceURL string `yaml:"trace_url"`
	// Proxy is a reverse proxy that has authenticated the persons.
	Proxy ConsoleProxy `yaml:"proxy"`
}

// TraceID is what Console.TraceURL has in the place of the id of a trace.
const TraceID = "{trace_id}"

// ConsoleProxy is a reverse proxy that says in headers who asks. It must take these headers out of the requests that it receives.
type ConsoleProxy struct {
	// Addresses are those from which it calls, as IP addresses or ranges (CIDR). From others the headers are ignored. Default none.
	Addresses []string `yaml:"addresses"`
	// UserHeader has the name of the person: the claim "user" of clients. Required with Addresses.
	UserHeader string `yaml:"user_header"`
	// GroupsHeader has the groups of the person, with commas between them: the claim "groups". Empty: none.
	GroupsHeader string `yaml:"groups_header"`
}

// IsTrusted reports whether a request from an address is one of the proxy.
func (p ConsoleProxy) IsTrusted(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && slices.ContainsFunc(p.Addresses, func(text string) bool {
		prefix, err := prefixOf(text)
		return err == nil && prefix.Contains(ip.Unmap())
	})
}

// prefixOf reads an address or a range.
func prefixOf(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// APIClient is a client of the API. Exactly one of Token, CertName and Claims says how it is recognised.
type APIClient struct {
	// Name is unique: lower-case letters, digits, - and _, at most 64. It is who has requested what the client asks for.
	Name string `yaml:"name"`
	// Token is what the client presents as its bearer token: one, or several with white space between them while one takes the
	// place of another. It is read again when it changes. Zero: not used.
	Token secret.Ref `yaml:"token" secret:"lines"`
	// CertName is a name in its certificate: the common name, or a DNS name, URI or mail address. Empty: not used.
	CertName string `yaml:"cert_name"`
	// Claims are those that its token of OIDC.Issuer, or a person of the console, must have, with these values. A list must contain the
	// value. Empty: not used.
	Claims map[string]string `yaml:"claims"`
	// May is what it may do: submit, read, cancel, retry, replay, drop, operate and events. Required.
	May []Permission `yaml:"may"`
	// Kinds are those of the jobs that it may ask for, see and change. Default and empty: all.
	Kinds []jobs.Kind `yaml:"kinds"`
	// Accounts are those of the jobs that it may ask for, see and change. Default and empty: all.
	Accounts []string `yaml:"accounts"`
	// Classes are those of the events that it may publish, such as incident. Default and empty: all but operator and schedule.
	Classes []string `yaml:"classes"`
	// Rate is how many requests it may make a minute, and at once: up to 1000000. Default and zero: no limit.
	Rate int `yaml:"rate"`
}

// Permission is one thing that a client of the API may do.
type Permission string

// The permissions.
const (
	MaySubmit  Permission = "submit"  // Ask for a job.
	MayRead    Permission = "read"    // See jobs, dead letters and the status.
	MayCancel  Permission = "cancel"  // Cancel a job.
	MayRetry   Permission = "retry"   // Retry a job.
	MayReplay  Permission = "replay"  // Replay a dead letter.
	MayDrop    Permission = "drop"    // Drop a dead letter.
	MayOperate Permission = "operate" // In the console: run, pause and resume schedules, run rotations, test receivers, stop watches.
	MayEvents  Permission = "events"  // Publish an event, of which policies may make jobs.
)

// Permissions lists all permissions.
func Permissions() []Permission {
	return []Permission{MaySubmit, MayRead, MayCancel, MayRetry, MayReplay, MayDrop, MayOperate, MayEvents}
}

// publishes reports whether the worker publishes events for a client.
func (c APIClient) publishes() bool {
	return slices.ContainsFunc(c.May, func(one Permission) bool {
		return slices.Contains([]Permission{MaySubmit, MayReplay, MayOperate, MayEvents}, one)
	})
}

// properClass is what may be the class of an event.
var properClass = lazyregexp.New(`^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,3}$`)

func (c *checker) api() {
	a := c.cfg.API
	c.apiListener(a)
	c.doors()
	c.oidc(a.OIDC)
	c.console(a)
	taken := map[string]int{}
	for i, client := range a.Clients {
		path := item("api.clients", i)
		if c.spoilt[path] {
			continue
		}
		c.name(path, client.Name, taken)
		c.recognised(path, client)
		c.permitted(path, client)
	}
}

// apiListener refuses a listener to which tokens would go in the clear over a network.
func (c *checker) apiListener(a API) {
	c.pair("api.tls", "cert_file", a.TLS.CertFile, "key_file", a.TLS.KeyFile)
	plain := a.TLS.CertFile == "" && a.TLS.KeyFile == "" && !c.anySpoilt("api.tls.cert_file", "api.tls.key_file")
	if a.TLS.ClientCAFile != "" && plain {
		c.add("api.tls.client_ca_file", "needs cert_file and key_file as well")
	}
	if a.Listen == "" {
		return
	}
	c.listenAddress("api.listen", a.Listen)
	host, _, err := net.SplitHostPort(a.Listen)
	if err == nil && plain && !isLoopback(host) && !c.unsure("api.tls") {
		c.add("api.listen", "is beyond loopback, where tokens and secrets would be readable on the way: "+
			"set api.tls with cert_file and key_file, or listen on 127.0.0.1")
	}
}

func (c *checker) oidc(o OIDC) {
	if o.Issuer == "" {
		if (o.Audience != "" || o.CAFile != "") && !c.unsure("api.oidc.issuer") {
			c.add("api.oidc", "needs issuer as well")
		}
		return
	}
	u, ok := parseURL(o.Issuer)
	switch {
	case !ok || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		c.add("api.oidc.issuer", "must be a URL such as https://idp.example.com")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		c.add("api.oidc.issuer", "must begin with https://; http:// is for 127.0.0.1, ::1 and localhost only")
	}
	if o.Audience == "" && !c.unsure("api.oidc.audience") {
		c.add("api.oidc.issuer", "needs audience as well: a token that was made for another service must not be accepted")
	}
}

// headerName is what a header may be called.
var headerName = lazyregexp.New(`^[A-Za-z0-9-]{1,64}$`)

// console checks how persons log in.
func (c *checker) console(a API) {
	const path = "api.console"
	if u, ok := parseURL(a.PublicURL); a.PublicURL != "" && (!ok || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "") {
		c.add("api.public_url", "must be a scheme and a host, such as https://rekey.example.com")
	}
	if u, ok := parseURL(strings.ReplaceAll(a.Console.TraceURL, TraceID, "0")); a.Console.TraceURL != "" && (!ok || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || !strings.Contains(a.Console.TraceURL, TraceID)) {
		c.add(path+".trace_url", "must be a URL with {trace_id} in it, such as https://traces.example.com/trace/{trace_id}")
	}
	c.duration(path+".idle", a.Console.Idle, time.Minute, 24*time.Hour)
	c.duration(path+".session", a.Console.Session, time.Minute, 168*time.Hour)
	if a.Console.ClientID != "" {
		if a.OIDC.Issuer == "" && !c.unsure("api.oidc.issuer") {
			c.add(path+".client_id", "needs api.oidc.issuer as well")
		}
		if a.PublicURL == "" && !c.unsure("api.public_url") {
			c.add("api.public_url", "is required with console.client_id: the issuer sends the browser back to it")
		}
	}
	c.consoleProxy(path+".proxy", a.Console.Proxy)
}

func (c *checker) consoleProxy(path string, p ConsoleProxy) {
	for i, text := range p.Addresses {
		if _, err := prefixOf(text); err != nil {
			c.add(item(join(path, "addresses"), i), "must be an IP address or a range, such as 192.0.2.7 or 10.0.0.0/8")
		}
	}
	for key, name := range map[string]string{"user_header": p.UserHeader, "groups_header": p.GroupsHeader} {
		if name != "" && !headerName.MatchString(name) {
			c.add(join(path, key), "must be the name of a header, such as X-Forwarded-User")
		}
	}
	if (len(p.Addresses) > 0) != (p.UserHeader != "") && !c.anySpoilt(join(path, "addresses"), join(path, "user_header")) {
		c.add(path, "needs addresses and user_header, both or neither")
	}
}

// recognised checks that there is one way to recognise a client.
func (c *checker) recognised(path string, client APIClient) {
	var ways []string
	for _, way := range []struct {
		set  bool
		name string
	}{
		{c.given(join(path, "token"), client.Token), "token_file"},
		{client.CertName != "" || c.spoilt[join(path, "cert_name")], "cert_name"},
		{len(client.Claims) > 0 || c.spoilt[join(path, "claims")], "claims"},
	} {
		if way.set {
			ways = append(ways, way.name)
		}
	}
	switch len(ways) {
	case 0:
		c.add(path, "needs token_file or token_env, or cert_name, or claims")
	case 1:
	default:
		c.add(path, "only one way to recognise it may be set, here are %s", list(ways))
	}
	if client.CertName != "" && c.cfg.API.TLS.ClientCAFile == "" && !c.unsure("api.tls.client_ca_file") {
		c.add(join(path, "cert_name"), "needs api.tls.client_ca_file as well")
	}
	if len(client.Claims) > 0 && c.cfg.API.OIDC.Issuer == "" && c.cfg.API.Console.Proxy.UserHeader == "" && !c.unsure("api.oidc.issuer") && !c.unsure("api.console") {
		c.add(join(path, "claims"), "needs api.oidc.issuer as well, or api.console.proxy")
	}
}

// permitted checks what a client may do.
func (c *checker) permitted(path string, client APIClient) {
	if len(client.May) == 0 && !c.unsure(join(path, "may")) {
		c.add(path, "needs may, a list of what it may do: %s", list(jobs.Names(Permissions())))
	}
	for _, set := range []struct {
		key           string
		values, known []string
	}{
		{"may", jobs.Names(client.May), jobs.Names(Permissions())},
		{"kinds", jobs.Names(client.Kinds), jobs.Names(jobs.Kinds())},
	} {
		for i, value := range set.values {
			at := item(join(path, set.key), i)
			c.oneOf(at, value, set.known...)
			if slices.Contains(set.values[:i], value) {
				c.add(at, "is listed twice")
			}
		}
	}
	for i, name := range client.Accounts {
		c.account(item(join(path, "accounts"), i), name)
	}
	for i, class := range client.Classes {
		c.class(item(join(path, "classes"), i), class)
	}
	c.number(join(path, "rate"), client.Rate, 0, 1_000_000)
}
