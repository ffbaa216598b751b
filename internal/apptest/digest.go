package apptest

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// digestRealm checks HTTP Digest as the vendor's API does: MD5, qop auth (RFC 7616).
type digestRealm struct {
	keys    map[string]string // Private keys by public key.
	nonces  int               // How many nonces were given out; the latest counts.
	used    map[string]bool   // Pairs of nonce and count.
	expired bool              // The latest nonce is not taken any more.
}

// DigestField finds the fields of a header Authorization.
var DigestField = regexp.MustCompile(`(\w+)=(?:"([^"]*)"|([^\s,]+))`)

func (d *digestRealm) nonce() string { return fmt.Sprintf("stand-in-nonce-%d", d.nonces) }

// challenge returns a challenge to a request that needs one.
func (d *digestRealm) challenge(c *Call) (Reply, bool) {
	authorization := c.Authorization()
	rest, isDigest := strings.CutPrefix(authorization, "Digest ")
	if !isDigest && authorization != "" {
		return Reply{}, false // A bearer token, which scripts refuse if they want.
	}
	fields := map[string]string{}
	for _, found := range DigestField.FindAllStringSubmatch(rest, -1) {
		fields[found[1]] = found[2] + found[3]
	}
	genuine := isDigest && d.genuine(c, fields)
	if genuine && !d.expired && fields["nonce"] == d.nonce() {
		return Reply{}, false
	}
	if d.nonces == 0 || d.expired {
		d.nonces, d.expired = d.nonces+1, false
	}
	return d.refusal(genuine), true
}

// genuine reports whether the caller knows the private key, and has not used this count before.
func (d *digestRealm) genuine(c *Call, fields map[string]string) bool {
	key, known := d.keys[fields["username"]]
	once := fields["nonce"] + " " + fields["nc"]
	if !known || d.used[once] || fields["uri"] != c.URI || fields["qop"] != "auth" {
		return false
	}
	if d.used == nil {
		d.used = map[string]bool{}
	}
	d.used[once] = true
	want := hashed(strings.Join([]string{
		hashed(fields["username"] + ":MMS Public API:" + key), fields["nonce"], fields["nc"], fields["cnonce"], "auth",
		hashed(c.Method + ":" + c.URI),
	}, ":"))
	return subtle.ConstantTimeCompare([]byte(want), []byte(fields["response"])) == 1
}

func (d *digestRealm) refusal(stale bool) Reply {
	header := http.Header{
		"Content-Type": {"application/json"},
		"Www-Authenticate": {fmt.Sprintf(
			`Digest realm="MMS Public API", domain="", nonce="%s", algorithm=MD5, qop="auth", stale=%t`, d.nonce(), stale)},
	}
	return Reply{Status: http.StatusUnauthorized, Header: header, Body: `{"error":401,"reason":"Unauthorized","detail":"You are not authorized for this resource."}`}
}

func hashed(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Allow makes a key pair known.
func (s *StandIn) Allow(publicKey, privateKey string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.digest.keys = map[string]string{publicKey: privateKey}
}

// ExpireNonce makes the latest nonce stale.
func (s *StandIn) ExpireNonce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.digest.expired = true
}
