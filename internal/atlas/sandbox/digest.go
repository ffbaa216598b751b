package sandbox

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 7616 as Atlas uses it knows no other.
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// realm is what Atlas calls itself in challenges.
	realm = "MMS Public API"
	// nonceSize is the length of a nonce before encoding, in bytes: 8 of time, 4 of count and 12
	// of authentication code.
	nonceSize = 24
	nonceHead = 12
	// maxNonces bounds how many nonces in use are remembered.
	maxNonces = 10_000
	// maxDigestHeader bounds the Authorization header that is parsed, in bytes.
	maxDigestHeader = 8 << 10
	// countWindow is how far apart counts of one nonce may arrive out of order.
	countWindow = 64
)

// nonces makes and checks the nonces of digest challenges. A nonce carries its own time and a
// code that proves it ours, so that only those in use take memory. The lock of the Sandbox
// guards it.
type nonces struct {
	key      [32]byte
	lifetime time.Duration
	made     uint32
	used     map[string]*counts
	// floor is the moment before which all nonces count as expired.
	floor time.Time
}

// counts remembers which counts of one nonce were seen: the highest, and those just below.
type counts struct {
	made    time.Time
	highest uint64
	seen    uint64 // Bit i is set when highest-i was seen.
}

func newNonces(lifetime time.Duration) *nonces {
	n := &nonces{lifetime: lifetime, used: map[string]*counts{}}
	// rand.Read never returns an error.
	_, _ = rand.Read(n.key[:])
	return n
}

// issue makes a nonce. The count in it keeps two of the same moment apart.
func (n *nonces) issue(now time.Time) string {
	n.made++
	raw := binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano()))
	raw = binary.BigEndian.AppendUint32(raw, n.made)
	return base64.StdEncoding.EncodeToString(append(raw, n.code(raw)...))
}

func (n *nonces) code(head []byte) []byte {
	mac := hmac.New(sha256.New, n.key[:])
	mac.Write(head)
	return mac.Sum(nil)[:nonceSize-nonceHead]
}

// madeAt returns when the nonce was made, and false when another server made it.
func (n *nonces) madeAt(nonce string) (time.Time, bool) {
	raw, err := base64.StdEncoding.DecodeString(nonce)
	if err != nil || len(raw) != nonceSize || !hmac.Equal(raw[nonceHead:], n.code(raw[:nonceHead])) {
		return time.Time{}, false
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(raw))), true
}

// verdict is what a nonce and its count are worth.
type verdict int

const (
	nonceGood verdict = iota
	nonceStale
	nonceBad
)

// use notes that the nonce is used with the count.
func (n *nonces) use(nonce string, count uint64, now time.Time) verdict {
	made, ours := n.madeAt(nonce)
	if !ours || count == 0 {
		return nonceBad
	}
	if now.Sub(made) >= n.lifetime || made.Before(n.floor) {
		return nonceStale
	}
	if n.used[nonce] == nil {
		n.makeRoom(now)
		n.used[nonce] = &counts{made: made}
	}
	if !n.used[nonce].add(count) {
		return nonceBad
	}
	return nonceGood
}

// makeRoom forgets expired nonces when there are too many. If that is not enough it lets all
// expire: forgetting alone would let counts be used twice.
func (n *nonces) makeRoom(now time.Time) {
	if len(n.used) < maxNonces {
		return
	}
	for nonce, c := range n.used {
		if now.Sub(c.made) >= n.lifetime {
			delete(n.used, nonce)
		}
	}
	if len(n.used) >= maxNonces {
		clear(n.used)
		n.floor = now
	}
}

// add notes a count, and says whether it is new.
func (c *counts) add(count uint64) bool {
	if count > c.highest {
		c.seen = c.seen<<(count-c.highest) | 1
		c.highest = count
		return true
	}
	bit := uint64(1) << (c.highest - count)
	if c.highest-count >= countWindow || c.seen&bit != 0 {
		return false
	}
	c.seen |= bit
	return true
}

// challenge refuses a call and asks for digest authentication, with the fields in Atlas's order.
func (s *Sandbox) challenge(c *call, stale bool) answer {
	c.header.Set("WWW-Authenticate", fmt.Sprintf(`Digest realm="%s", domain="", nonce="%s", algorithm=MD5, qop="auth", stale=%t`,
		realm, s.nonces.issue(c.at), stale))
	return c.notAuthorized()
}

// notAuthorized is Atlas's 401, which has no error code.
func (c *call) notAuthorized() answer {
	return c.refuse(http.StatusUnauthorized, "", "You are not authorized for this resource.")
}

// digest authenticates a call with an Authorization header of the scheme Digest (RFC 7616).
func (s *Sandbox) digest(c *call) (answer, bool) {
	fields, ok := parseDigest(c.request.Header.Get("Authorization"))
	if !ok {
		return s.challenge(c, false), true
	}
	a := s.world.accounts[fields["username"]]
	if a == nil || a.kind != kindAPIKey || !validDigest(fields, c.request, a) {
		return s.challenge(c, false), true
	}
	count, err := strconv.ParseUint(fields["nc"], 16, 32)
	if err != nil || len(fields["nc"]) != 8 {
		return s.challenge(c, false), true
	}
	// Stale tells the caller that its password is right, so it comes after that check.
	switch s.nonces.use(fields["nonce"], count, c.at) {
	case nonceStale:
		return s.challenge(c, true), true
	case nonceBad:
		return s.challenge(c, false), true
	case nonceGood:
	}
	c.account = a
	if !s.usedKey(c) {
		return c.foreign(), true
	}
	return answer{}, false
}

// usedKey notes that an API key has called, unless its access list does not allow that from where it did.
func (s *Sandbox) usedKey(c *call) bool {
	a := c.account
	from, err := netip.ParseAddr(clientIP(c.request))
	if err != nil {
		from = netip.AddrFrom4([4]byte{127, 0, 0, 1}) // Without a server in between, as with a RoundTripper in tests.
	}
	in := slices.IndexFunc(a.list, func(e listEntry) bool { return e.block.Contains(from.Unmap()) })
	if in < 0 || len(a.list) == 0 {
		return len(a.list) == 0
	}
	at, block := c.at, a.list[in].block
	if lie, ok := s.lie(c, FaultUnnoticed); ok {
		if lie.Delay == 0 {
			return true
		}
		at = at.Add(lie.Delay)
	}
	s.later(at, func(time.Time) {
		for i := range a.list {
			if a.list[i].block == block && c.at.After(a.list[i].lastUsed) {
				a.list[i].lastUsed = c.at
			}
		}
	})
	s.settle(s.now())
	return true
}

// foreign refuses a call from an address that is not on the access list of the account.
func (c *call) foreign() answer {
	from := clientIP(c.request)
	return c.refuse(http.StatusForbidden, adminCode(http.StatusForbidden), "IP address "+from+" is not allowed to access this resource.", from)
}

// validDigest checks everything but the nonce and its count.
func validDigest(f map[string]string, r *http.Request, a *account) bool {
	uri := r.RequestURI
	if uri == "" {
		uri = r.URL.RequestURI() // Without a server in between, as with a RoundTripper in tests.
	}
	algorithm, given := f["algorithm"]
	if f["realm"] != realm || f["uri"] != uri || f["qop"] != "auth" || f["cnonce"] == "" || given && !strings.EqualFold(algorithm, "MD5") {
		return false
	}
	want := md5Hex(strings.Join([]string{
		md5Hex(a.id + ":" + realm + ":" + a.firstSecret()),
		f["nonce"], f["nc"], f["cnonce"], f["qop"],
		md5Hex(r.Method + ":" + uri),
	}, ":"))
	return subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(f["response"]))) == 1
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // As above.
	return hex.EncodeToString(sum[:])
}

// parseDigest splits an Authorization header of the scheme Digest into its fields, with names
// in lower case (RFC 9110 section 11.2). It is false for a header that is malformed, too long or
// names a field twice.
func parseDigest(header string) (map[string]string, bool) {
	scheme, rest, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, AuthDigest) || len(header) > maxDigestHeader {
		return nil, false
	}
	fields := map[string]string{}
	for rest = strings.TrimSpace(rest); rest != ""; {
		name, after, ok := strings.Cut(rest, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := fields[name]; !ok || name == "" || twice {
			return nil, false
		}
		if fields[name], rest, ok = digestValue(strings.TrimLeft(after, " \t")); !ok {
			return nil, false
		}
	}
	return fields, true
}

// digestValue reads one value, quoted or not, and the comma behind it. It returns what follows.
func digestValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ",")
		return strings.TrimSpace(value), strings.TrimSpace(rest), true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		case '"':
			rest = strings.TrimSpace(s[i+1:])
			after, comma := strings.CutPrefix(rest, ",")
			return b.String(), strings.TrimSpace(after), comma || rest == ""
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}
