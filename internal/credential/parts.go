package credential

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"net/url"
	"strings"
	"time"

	"rekey/internal/lazyregexp"
	"rekey/internal/redact"
)

// keyPair is the public and the private half of an API key.
var keyPair = lazyregexp.New(`^([a-z]{8})(?:\s*[:,;/|]\s*|\s+)(` + redact.UUID + `)$`)

// KeyPair takes the two halves of an API key apart.
func KeyPair(text string) (public, private string, ok bool) {
	parts := keyPair.FindStringSubmatch(strings.TrimSpace(text))
	if parts == nil {
		return "", "", false
	}
	return parts[1], parts[2], true
}

// bearer is what is before a token in a header.
var bearer = lazyregexp.New(`(?i)^["']?(?:(?:proxy-)?authorization["']?\s*[:=]\s*["']?)?bearer(?:[ \t:]|%20)+`)

// BearerJWT returns the JWT of a header Authorization, alone or with the header's name.
func BearerJWT(text string) (string, bool) {
	text = strings.TrimSpace(text)
	scheme := bearer.FindString(text)
	token := strings.TrimRight(text[len(scheme):], `"'`)
	return token, scheme != "" && isJWT(token)
}

var (
	serviceSecret  = lazyregexp.New(`mdb_sa_sk_[A-Za-z0-9_-]{8,512}`)
	serviceAccount = lazyregexp.New(`mdb_sa_id_[A-Fa-f0-9]{24}`)
)

// ServiceSecrets are the different secrets of service accounts in a text, and the ids of service accounts.
func ServiceSecrets(text string) (secrets, ids []string) {
	return distinct(serviceSecret.FindAllString(text, -1)), distinct(serviceAccount.FindAllString(text, -1))
}

func distinct(texts []string) []string {
	var list []string
	have := map[string]bool{}
	for _, text := range texts {
		if !have[text] {
			have[text] = true
			list = append(list, text)
		}
	}
	return list
}

// Connection is what a connection string of MongoDB says of its user.
type Connection struct {
	Hosts              []string // Without ports.
	Username, Password string
	AuthSource         string // The database that the user authenticates against; empty where none is named.
	Mechanism          string // Such as SCRAM-SHA-256; empty for the server's own.
}

// inSettings is a connection string as it is in settings, where scanners find it: in quotes, behind the name of a variable, or both.
var inSettings = lazyregexp.New("(?i)^(?:(?:export\\s+|-\\s*)?[\"'`]?[a-z_][a-z0-9_.-]*[\"'`]?\\s*[=:]\\s*)?[\"'`]?(mongodb(?:\\+srv)?://[^\\s\"'`]+)[\"'`]?[,;]?$")

// ParseConnection reads a connection string of MongoDB: several hosts, a user name and a password that are percent-encoded. It does
// not check what only a driver needs. The string may be in quotes, and behind the name of a variable.
func ParseConnection(text string) (Connection, bool) {
	text = strings.TrimSpace(text)
	if found := inSettings.FindStringSubmatch(text); found != nil {
		text = found[1]
	}
	scheme, rest, found := strings.Cut(text, "://")
	if scheme = strings.ToLower(scheme); !found || scheme != "mongodb" && scheme != "mongodb+srv" {
		return Connection{}, false
	}
	rest, query, _ := strings.Cut(rest, "?")
	// A password with a slash should be encoded, and often is not.
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return Connection{}, false
	}
	user, password, _ := strings.Cut(rest[:at], ":")
	c := Connection{Username: decoded(user), Password: decoded(password)}
	hosts, _, _ := strings.Cut(rest[at+1:], "/")
	for host := range strings.SplitSeq(hosts, ",") {
		name, _, _ := strings.Cut(host, ":")
		c.Hosts = append(c.Hosts, strings.ToLower(strings.TrimSuffix(name, ".")))
	}
	for _, option := range strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, _ := strings.Cut(option, "=")
		switch strings.ToLower(name) {
		case "authsource":
			c.AuthSource = decoded(value)
		case "authmechanism":
			c.Mechanism = strings.ToUpper(decoded(value))
		}
	}
	return c, true
}

// decoded is a text without percent-encoding, or as it is where that is malformed.
func decoded(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}

// atlasHost is a host of a cluster of Atlas.
var atlasHost = lazyregexp.New(`^(?:[a-z0-9-]+\.)+mongodb(?:gov|-[a-z]+)?\.(?:net|com)$`)

// InAtlas reports whether all hosts are those of clusters of Atlas.
func (c Connection) InAtlas() bool {
	for _, host := range c.Hosts {
		if !atlasHost.MatchString(host) {
			return false
		}
	}
	return len(c.Hosts) > 0
}

// latestEnd bounds when a token can say that it ends: the year 9999, after which no text of a time is in order.
const latestEnd = 253402300799

// Ends is when a bearer token ends by itself, as it says (RFC 7519 section 4.1.4). The zero time: it is no JWT, or does not say. What
// it says is not checked: its maker chose the text.
func Ends(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	var claims struct {
		Expires *float64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(text, &claims) != nil || claims.Expires == nil || *claims.Expires < 1 || math.IsNaN(*claims.Expires) {
		return time.Time{}
	}
	return time.Unix(int64(min(*claims.Expires, latestEnd)), 0).UTC()
}
