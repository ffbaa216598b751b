package config

import (
	"regexp"
	"strings"
	"time"
)

// clientID is the form of a service account's id, after the API's own documentation.
var clientID = regexp.MustCompile(`^mdb_sa_id_[a-fA-F0-9]{24}$`)

// publicKey allows what Atlas uses (eight letters) and other stand-ins may; nothing that HTTP
// Digest would have to escape.
var publicKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

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
