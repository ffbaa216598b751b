package config

import (
	"strings"
	"time"

	"rekey/internal/kinds"
	"rekey/internal/lazyregexp"
)

// RateLimits is what the operator knows of the API's rate buckets, and how they are shared out.
type RateLimits struct {
	// Read says whether the worker asks the API for its limits: ReadAuto (default and empty),
	// ReadAlways or ReadNever.
	Read string `yaml:"read"`
	// UrgentShare is the part of each bucket, and of the worker's slots, in percent, that is kept for
	// urgent jobs: 0 to 90, and if it is not 0 at least one call and one slot. Default 20.
	UrgentShare int `yaml:"urgent_share"`
	// Sets are the limits of endpoint sets, by name: each is a key beside the other two. One that is left out is learned from the
	// API's answers.
	Sets map[string]RateLimit `yaml:"-"`
}

// When the API's limits are read.
const (
	// ReadAuto reads them at the start from the vendor's own hosts, and from others when an
	// answer shows that there are limits.
	ReadAuto   = "auto"
	ReadAlways = "always"
	ReadNever  = "never"
)

// RateLimit is the limit of one endpoint set: a bucket for each member of the scope, which holds Capacity
// calls and gets Refill of them every Every. All three are set, or none.
type RateLimit struct {
	// Capacity is how many calls a full bucket holds: 1 to 1000000.
	Capacity int `yaml:"capacity"`
	// Refill is how many calls each period adds: 1 to 1000000.
	Refill int `yaml:"refill"`
	// Every is the period: 1ms to 24h.
	Every time.Duration `yaml:"every"`
	// Scope is whose bucket it is: account, organization, project or address. Empty: as the vendor documents it.
	Scope string `yaml:"scope"`
}

// IsSet reports whether it says how large the bucket is.
func (l RateLimit) IsSet() bool { return l.Capacity != 0 || l.Refill != 0 || l.Every != 0 }

// setNames are the endpoint sets that have a limit.
func setNames() []string {
	var names []string
	for _, set := range kinds.Sets() {
		names = append(names, set.Name)
	}
	return names
}

// rateLimits checks what is known of rate buckets.
func (c *checker) rateLimits() {
	const path = "atlas.rate_limits"
	limits := c.cfg.Atlas.RateLimits
	c.oneOf(join(path, "read"), limits.Read, ReadAuto, ReadAlways, ReadNever)
	c.number(join(path, "urgent_share"), limits.UrgentShare, 0, 90)
	for _, name := range setNames() {
		c.rateLimit(join(path, name), limits.Sets[name])
	}
}

func (c *checker) rateLimit(path string, l RateLimit) {
	if l.Scope != "" {
		c.oneOf(join(path, "scope"), l.Scope, "account", "organization", "project", "address")
	}
	capacity, refill, every := join(path, "capacity"), join(path, "refill"), join(path, "every")
	if !l.IsSet() && !c.anySpoilt(capacity, refill, every) && !c.has(capacity) && !c.has(refill) && !c.has(every) {
		return
	}
	for _, key := range []string{capacity, refill, every} {
		if !c.has(key) {
			c.add(key, "is required: a bucket is capacity, refill and every")
		}
	}
	const most = 1_000_000
	c.number(capacity, l.Capacity, 1, most)
	c.number(refill, l.Refill, 1, most)
	c.duration(every, l.Every, time.Millisecond, 24*time.Hour)
}

// clientID is the form of a service account's id, after the API's own documentation.
var clientID = lazyregexp.New(`^mdb_sa_id_[a-fA-F0-9]{24}$`)

// publicKey allows what Atlas uses (eight letters) and other stand-ins may; nothing that HTTP
// Digest would have to escape.
var publicKey = lazyregexp.New(`^[A-Za-z0-9_-]{1,64}$`)

func (c *checker) atlas() {
	a := &c.cfg.Atlas
	a.BaseURL = strings.TrimSuffix(a.BaseURL, "/")
	c.baseURL(a.BaseURL)
	c.duration("atlas.timeout", a.Timeout, 100*time.Millisecond, 5*time.Minute)
	c.oneOf("atlas.x509_api", a.X509API, X509APIv2, X509APIv10)
	taken := map[string]int{}
	for i, account := range a.Accounts {
		path := item("atlas.accounts", i)
		if c.spoilt[path] {
			continue
		}
		c.name(path, account.Name, taken)
		c.credentials(path, account)
		if _, err := account.SecretExpiry(); err != nil {
			c.add(join(path, "secret_expires_at"), "%v", err)
		}
	}
}

// baseURL checks where the API is. Secrets go there, so only loopback may do without TLS.
func (c *checker) baseURL(text string) {
	const path = "atlas.base_url"
	u, ok := parseURL(text)
	switch {
	case !ok || u.Scheme != "https" && u.Scheme != "http":
		c.add(path, "must be a URL such as https://cloud.mongodb.com")
	case u.User != nil:
		c.add(path, "must not hold a user or password: secrets are never written here")
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		c.add(path, "must be scheme and host only, without path, query and fragment")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		c.add(path, "must begin with https://; http:// is for 127.0.0.1, ::1 and localhost only")
	}
}

// credentials checks that an account is either a service account or an API key, and all of it.
func (c *checker) credentials(path string, a Account) {
	id, key := join(path, "client_id"), join(path, "public_key")
	hasID, hasKey := a.ClientID != "" || c.spoilt[id], a.PublicKey != "" || c.spoilt[key]
	secretBase, privateBase := join(path, "client_secret"), join(path, "private_key")
	hasSecret, hasPrivate := c.given(secretBase, a.ClientSecret), c.given(privateBase, a.PrivateKey)
	// Which of the two it is, only what is written says: what may be in a part that is not understood accuses no account.
	switch service, api := hasID || c.written(secretBase, a.ClientSecret), hasKey || c.written(privateBase, a.PrivateKey); {
	case service && api:
		c.add(path, "is either a service account (client_id, client_secret_file or client_secret_env) "+
			"or an API key (public_key, private_key_file or private_key_env), not both")
	case service:
		c.bothHalves(id, hasID, secretBase, hasSecret)
	case api:
		c.bothHalves(key, hasKey, privateBase, hasPrivate)
	default:
		c.add(path, "needs client_id with client_secret_file or client_secret_env, "+
			"or public_key with private_key_file or private_key_env")
	}
	if a.ClientID != "" && !clientID.MatchString(a.ClientID) {
		c.add(id, "must be mdb_sa_id_ and 24 hexadecimal digits")
	}
	if a.PublicKey != "" && !publicKey.MatchString(a.PublicKey) {
		c.add(key, "must be 1 to 64 letters, digits, - and _")
	}
}

// bothHalves checks that an id and its secret are both there.
func (c *checker) bothHalves(id string, hasID bool, secretBase string, hasSecret bool) {
	name := secretBase[strings.LastIndex(secretBase, ".")+1:]
	switch {
	case !hasID:
		c.add(id, "is required with %s%s or %s%s", name, partFile, name, partEnv)
	case !hasSecret:
		c.add(secretBase+string(partFile), "is required, or %s%s", name, partEnv)
	}
}

// account checks that a schedule names a configured account.
func (c *checker) account(path, name string) {
	accounts := c.cfg.Atlas.Accounts
	// Where accounts are not understood, the name may well be one of them.
	unsure := c.unsure("atlas.accounts")
	var names []string
	for i, account := range accounts {
		unsure = unsure || c.anySpoilt(item("atlas.accounts", i), item("atlas.accounts", i)+".name")
		if account.Name == name && name != "" {
			return
		}
		names = append(names, account.Name)
	}
	switch {
	case unsure:
	case len(accounts) == 0:
		c.add(path, "there are no accounts under atlas.accounts")
	case name == "" && len(accounts) > 1:
		c.add(path, "is required, as there are several accounts: %s", list(names))
	case name != "":
		c.add(path, "is not the name of an account; there is %s", list(names))
	}
}
