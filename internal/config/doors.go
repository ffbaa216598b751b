package config

import (
	"maps"
	"net"
	"slices"
	"time"

	"rekey/internal/door"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/secret"
)

// Door is where one sender posts what happens, at /in/ and its name.
type Door struct {
	// Name is unique: lower-case letters, digits, - and _, at most 64.
	Name string `yaml:"name"`
	// Type says who posts, and how that sender proves it. Required; docs/senders has a page for each.
	Type door.Type `yaml:"type"`
	// Class is that of its events: incident (default and empty), rotation, or a class of your own.
	Class string `yaml:"class"`
	// Secret is that of the sender's signatures, for github, standard_webhooks (whsec_…, or the sender's public key, whpk_…),
	// gitguardian, pagerduty, atlas, slack and teams: one, or several with white space between them while one takes the place of
	// another. It is read for every request.
	Secret secret.Ref `yaml:"secret" secret:"lines"`
	// Token is what the sender presents in the header Authorization, for bearer and gitlab_revocation, and for caep, where it may be
	// left out; several as of Secret.
	Token secret.Ref `yaml:"token" secret:"lines"`
	// User is that of the sender, for basic.
	User string `yaml:"user"`
	// Password is that of User; several as of Secret.
	Password secret.Ref `yaml:"password" secret:"lines"`
	// CertNames are names of which one must be in the sender's certificate, for mtls: the common name, or a DNS name, URI or mail
	// address.
	CertNames []string `yaml:"cert_names"`
	// Tolerance is how far a signed time may be from now, for standard_webhooks, gitguardian and slack: 10s to 1h. Default 5m.
	Tolerance time.Duration `yaml:"tolerance"`
	// Direct lets bodies be direct requests, as events may be, for standard_webhooks, bearer, basic, mtls and none. Default true;
	// with false, only policies make jobs of what is posted.
	Direct bool `yaml:"direct"`
	// Issuer is the claim iss of the tokens of caep. Required there.
	Issuer string `yaml:"issuer"`
	// Audience must be in the claim aud of the tokens of caep. Required there.
	Audience string `yaml:"audience"`
	// JWKSFile is a JSON Web Key Set with the issuer's keys, for caep. It is read for each token. Empty: JWKSURL.
	JWKSFile string `yaml:"jwks_file"`
	// JWKSURL is where the issuer publishes its keys, for caep, https but for this machine. They are kept for 10 minutes.
	JWKSURL string `yaml:"jwks_url"`
	// CAFile is a PEM file with the authorities that may sign the certificates of JWKSURL, PollURL and VerificationURL. Empty: those
	// of the system.
	CAFile string `yaml:"ca_file"`
	// PollURL is where tokens are polled, for caep. Empty, the default: they are pushed to the door, as they may be anyway.
	PollURL string `yaml:"poll_url"`
	// VerificationURL is where a verification of the stream is asked for, at the start and once a day. Empty, the default: nowhere.
	VerificationURL string `yaml:"verification_url"`
	// StreamID is that of the stream. Required with VerificationURL.
	StreamID string `yaml:"stream_id"`
	// StreamToken is the bearer token for PollURL and VerificationURL. It is read for each request. Zero: none.
	StreamToken secret.Ref `yaml:"stream_token"`
	// Secrets are names of members of the body whose values are sealed, whatever they look like. What looks like a credential, or
	// has a name that says so, is sealed anyway. Default none.
	Secrets []string `yaml:"secrets"`
	// TokenTypes are the types of tokens that GitLab is to send, for gitlab_revocation. Default and empty: those of its analyzer
	// that are about MongoDB Atlas.
	TokenTypes []string `yaml:"token_types"`
	// Account is that of the jobs of gitlab_revocation. It may be empty when there is only one account.
	Account string `yaml:"account"`
	// Params are hints for the jobs of gitlab_revocation, such as org_id: where the account of a leaked secret is looked for.
	Params map[string]string `yaml:"params"`
}

// setDefaults prepares a door for what the file says about it.
func (d *Door) setDefaults() {
	d.Class, d.Tolerance, d.Direct = jobs.ClassIncident, door.Tolerance, true
}

// Door is the door as it is opened.
func (d *Door) Door() door.Door {
	types := d.TokenTypes
	if len(types) == 0 {
		types = door.TokenTypes()
	}
	class := d.Class
	if class == "" {
		class = jobs.ClassIncident
	}
	return door.Door{
		Name: d.Name, Type: d.Type, Class: class, Secret: d.Secret, Token: d.Token, User: d.User, Password: d.Password,
		Issuer: d.Issuer, Audience: d.Audience, JWKSFile: d.JWKSFile, JWKSURL: d.JWKSURL, CAFile: d.CAFile, PollURL: d.PollURL,
		VerificationURL: d.VerificationURL, StreamID: d.StreamID, StreamToken: d.StreamToken,
		CertNames: d.CertNames, Tolerance: d.Tolerance, Direct: d.Direct, Secrets: d.Secrets, TokenTypes: types, Account: d.Account, Params: d.Params,
	}
}

func (c *checker) doors() {
	taken := map[string]int{}
	for i, d := range c.cfg.API.Doors {
		path := item("api.doors", i)
		if c.spoilt[path] {
			continue
		}
		c.name(path, d.Name, taken)
		if d.Class != "" {
			c.class(join(path, "class"), d.Class)
		}
		if d.Type == "" {
			c.add(join(path, "type"), "is required: one of %s", list(jobs.Names(door.Types())))
			continue
		}
		c.oneOf(join(path, "type"), string(d.Type), jobs.Names(door.Types())...)
		if slices.Contains(door.Types(), d.Type) {
			c.keysOfDoor(path, d)
		}
		c.duration(join(path, "tolerance"), d.Tolerance, 10*time.Second, time.Hour)
	}
}

// class checks what may be the class of an event that others publish.
func (c *checker) class(path, class string) {
	switch {
	case !properClass.MatchString(class):
		c.add(path, "must be one to four words of letters, digits, - and _, with dots between them")
	case class == jobs.ClassOperator || class == jobs.ClassSchedule:
		c.add(path, "is a class of Rekey's own: only commands and schedules publish it")
	}
}

// doorKey is a key that doors of some types have: a secret, or another one that is given or not.
type doorKey struct {
	name  string
	ref   *secret.Ref
	given bool
}

// keys are those of a door. Of keys that no type requires, what the document has counts alone.
func (d *Door) keys() []doorKey {
	return []doorKey{
		{name: door.KeySecret, ref: &d.Secret},
		{name: door.KeyToken, ref: &d.Token},
		{name: door.KeyUser, given: d.User != ""},
		{name: door.KeyPassword, ref: &d.Password},
		{name: door.KeyCertNames, given: len(d.CertNames) > 0},
		{name: door.KeyTolerance},
		{name: door.KeyDirect},
		{name: door.KeyTokenTypes},
		{name: door.KeyAccount},
		{name: door.KeyParams},
		{name: door.KeyIssuer, given: d.Issuer != ""},
		{name: door.KeyAudience, given: d.Audience != ""},
		{name: door.KeyJWKSFile},
		{name: door.KeyJWKSURL},
		{name: door.KeyCAFile},
		{name: door.KeyPollURL},
		{name: door.KeyVerificationURL},
		{name: door.KeyStreamID},
		{name: door.KeyStreamToken, ref: &d.StreamToken},
	}
}

// keysOfDoor checks that a door has the keys of its type, and no others.
func (c *checker) keysOfDoor(path string, d Door) {
	keys := door.KeysOf(d.Type)
	for _, one := range d.keys() {
		at, shown := join(path, one.name), one.name
		given := one.given || c.spoilt[at]
		if one.ref != nil {
			at, given = refPath(at, *one.ref), c.given(at, *one.ref)
			shown += "_file or " + one.name + "_env"
		}
		switch {
		case slices.Contains(keys.Required, one.name) && !given:
			c.add(path, "needs %s: doors of the type %s have it", shown, d.Type)
		case !keys.Has(one.name) && c.has(at):
			c.add(at, "is not for doors of the type %s", d.Type)
		}
	}
	c.place(path, d)
	switch d.Type { //nolint:exhaustive // The others have nothing more.
	case door.TypeGitLabRevocation:
		c.requests(path, d)
	case door.TypeCAEP:
		c.stream(path, d)
	}
}

// place checks that the listener fits the type.
func (c *checker) place(path string, d Door) {
	host, _, err := net.SplitHostPort(c.cfg.API.Listen)
	switch {
	case d.Type == door.TypeMTLS && c.cfg.API.TLS.ClientCAFile == "" && !c.unsure("api.tls.client_ca_file"):
		c.add(join(path, "type"), "needs api.tls.client_ca_file as well")
	case d.Type == door.TypeNone && err == nil && !isLoopback(host):
		c.add(join(path, "type"), "is for processes on this machine, and api.listen is beyond it")
	}
}

// stream checks the keys and addresses of a transmitter.
func (c *checker) stream(path string, d Door) {
	file, url := join(path, door.KeyJWKSFile), join(path, door.KeyJWKSURL)
	switch {
	case d.JWKSFile != "" && d.JWKSURL != "":
		c.add(url, "and jwks_file are both set: keep one of them")
	case d.JWKSFile == "" && d.JWKSURL == "" && !c.anySpoilt(file, url):
		c.add(path, "needs jwks_file or jwks_url: doors of the type %s have one", d.Type)
	}
	for key, address := range map[string]string{door.KeyJWKSURL: d.JWKSURL, door.KeyPollURL: d.PollURL, door.KeyVerificationURL: d.VerificationURL} {
		u, ok := parseURL(address)
		switch {
		case address == "":
		case !ok || u.Scheme != "https" && u.Scheme != "http" || u.User != nil:
			c.add(join(path, key), "must be a URL such as https://idp.example.com/ssf")
		case u.Scheme == "http" && !isLoopback(u.Hostname()):
			c.add(join(path, key), "must begin with https://; http:// is for 127.0.0.1, ::1 and localhost only")
		}
	}
	c.pair(path, door.KeyVerificationURL, d.VerificationURL, door.KeyStreamID, d.StreamID)
}

// requests checks what the requests of a door are made with.
func (c *checker) requests(path string, d Door) {
	if d.Account != "" || len(c.cfg.Atlas.Accounts) > 1 {
		c.account(join(path, "account"), d.Account)
	}
	kind := kinds.Containing()
	params := maps.Clone(d.Params)
	if params == nil {
		params = map[string]string{}
	}
	leaked := kind.Secrets()[0].Name
	for name := range d.Params {
		if p, _, ok := kind.Param(name); ok && p.Name == leaked {
			c.add(join(join(path, "params"), name), "is what the sender hands over")
			delete(params, name)
		}
	}
	params[leaked+kinds.SuffixSealed] = "rekey-seal.v1" // Which each request of the door's has.
	c.params(path, kind.Name, params)
}
