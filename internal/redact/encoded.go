package redact

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// escapeRounds is how often percent-encoding is taken off: a URL may be in the query of another one.
const escapeRounds = 2

// view is a text with its percent-encoding taken off, and where its bytes come from.
type view struct {
	text   string
	origin []int // Of each byte, and of the end. Nil: every byte is where it was.
}

// at returns where a span of the view is in the text that it is a view of.
func (v view) at(s Span) Span {
	if v.origin == nil {
		return s
	}
	return Span{v.origin[s.From], v.origin[s.To]}
}

// views are the text itself and, where it is percent-encoded, the text without that.
func views(text string) []view {
	list := []view{{text: text}}
	for range escapeRounds {
		next, changed := unescape(list[len(list)-1])
		if !changed {
			break
		}
		list = append(list, next)
	}
	return list
}

func unescape(v view) (view, bool) {
	if !strings.Contains(v.text, "%") {
		return v, false
	}
	plain, origin := make([]byte, 0, len(v.text)), make([]int, 0, len(v.text)+1)
	for at := 0; at < len(v.text); at++ {
		origin = append(origin, v.at(Span{at, at}).From)
		one := [1]byte{v.text[at]}
		if one[0] == '%' && at+2 < len(v.text) {
			if _, err := hex.Decode(one[:], []byte(v.text[at+1:at+3])); err == nil {
				at += 2
			} else {
				one[0] = '%'
			}
		}
		plain = append(plain, one[0])
	}
	origin = append(origin, v.at(Span{len(v.text), len(v.text)}).From)
	return view{string(plain), origin}, len(plain) < len(v.text)
}

// shortestEncoded is the length in bytes from which a run of the letters of base64 is decoded.
const shortestEncoded = 16

// encodedSecrets finds what is certainly a credential in base64, as the Secret of a Kubernetes cluster has it.
func encodedSecrets(text string) []Span {
	var spans []Span
	for at := 0; at < len(text); at++ {
		from := at
		for at < len(text) && isBase64(text[at]) {
			at++
		}
		if at-from < shortestEncoded {
			continue
		}
		plain, ok := DecodeBase64(text[from:at])
		if !ok || len(look(plain, true)) == 0 {
			continue
		}
		for at < len(text) && text[at] == '=' {
			at++
		}
		spans = append(spans, Span{from, at})
	}
	return spans
}

func isBase64(c byte) bool { return isAlphanumeric(c) || strings.IndexByte("+/-_", c) >= 0 }

// DecodeBase64 returns the text that is encoded in base64, of either alphabet, with or without padding. Bytes that are no text
// count as none.
func DecodeBase64(encoded string) (string, bool) {
	const first = 16 // So much is enough to tell that it is no text.
	encoded = strings.TrimRight(encoded, "=")
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(encoded, "-_") {
		encoding = base64.RawURLEncoding
	}
	if begin, err := encoding.DecodeString(encoded[:min(len(encoded), first)]); err != nil && len(encoded) >= first || !isText(begin) {
		return "", false
	}
	plain, err := encoding.DecodeString(encoded)
	return string(plain), err == nil && len(plain) > 0 && isText(plain) && utf8.Valid(plain)
}

func isText(data []byte) bool {
	for _, c := range data {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// leadsOfBase64 are what a service account's secret in base64 has in it, whatever is before: three ways to be aligned.
var leadsOfBase64 = []string{
	within(base64.RawStdEncoding, secretLead, 0), within(base64.RawStdEncoding, secretLead, 1), within(base64.RawStdEncoding, secretLead, 2),
}

// inBase64 finds a text in base64 that has one of these in it.
func inBase64(leads []string) func(string) []Span {
	return submatches(`([A-Za-z0-9+/_-]*(?:`+strings.Join(leads, "|")+`)[A-Za-z0-9+/_-]*={0,2})`, nil)
}
