package atlas

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"rekey/internal/secret"
)

// Limits of what is kept of the API's words.
const (
	maxDetailRunes = 300
	maxRequestID   = 128
)

// scrubbed stands where a secret stood.
const scrubbed = "[secret]"

var (
	// secretLike is what looks like a secret of anybody: a client secret, a JWT, the value of a
	// header Authorization (at 20 signs or more: "bearer authentication" is none).
	secretLike = regexp.MustCompile(`mdb_sa_sk_[\w.~+/=-]*|eyJ[\w.~+/=-]{8,}|(?i:\b(?:basic|bearer)[ :]+[\w.~+/=%-]{20,})`)
	// codeLike is what an errorCode looks like.
	codeLike = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
)

// requestIDHeaders are where the id of a request is looked for. The vendor documents none;
// its answers pass an Envoy proxy, whose header is the first.
var requestIDHeaders = []string{"X-Request-Id", "X-Envoy-Request-Id", "X-MongoDB-Request-Id", "X-Correlation-Id"}

// safeText makes what the API says fit for logs and records: printable, without secrets, and
// of at most 300 runes. Secrets are looked for before anything is cut, and after what could
// break them up is gone.
func safeText(text string, hidden []secret.Value) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, text)
	return shorten(strings.TrimSpace(scrub(text, hidden)), maxDetailRunes)
}

// scrub replaces the hidden secrets and everything that looks like one.
func scrub(text string, hidden []secret.Value) string {
	for _, value := range hidden {
		plain := value.Reveal()
		text = replaceSecret(text, plain)
		if encoded := url.QueryEscape(plain); encoded != plain {
			text = replaceSecret(text, encoded)
		}
	}
	return secretLike.ReplaceAllString(text, scrubbed)
}

// replaceSecret replaces the secret also where only its beginning is left: an API that echoes
// a long token may have cut it.
func replaceSecret(text, plain string) string {
	const telling = 8 // Bytes that are enough to recognise it.
	if plain == "" {
		return text
	}
	start := plain[:min(len(plain), telling)]
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, start)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		rest := plain[len(start):]
		same := 0
		for same < min(len(rest), len(after)) && rest[same] == after[same] {
			same++
		}
		b.WriteString(scrubbed)
		text = after[same:]
	}
}

// shorten cuts the text to at most n runes, the last of which then is an ellipsis.
func shorten(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}

// safeCode returns the errorCode if it looks like one, else "".
func safeCode(code string, hidden []secret.Value) string {
	if !codeLike.MatchString(code) || scrub(code, hidden) != code {
		return ""
	}
	return code
}

// requestID returns the API's id of a request: at most 128 letters, digits and a few signs;
// "" where there is none, or where somebody has put a secret.
func requestID(header http.Header, hidden []secret.Value) string {
	for _, name := range requestIDHeaders {
		id := strings.Map(func(r rune) rune {
			if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.:/=+", r)) {
				return r
			}
			return -1
		}, header.Get(name))
		if id != "" && scrub(id, hidden) == id {
			return id[:min(len(id), maxRequestID)]
		}
	}
	return ""
}
