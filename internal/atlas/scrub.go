package atlas

import (
	"net/http"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"rekey/internal/redact"
	"rekey/internal/secret"
)

// Limits of the API's texts that are kept.
const (
	maxDetailRunes = 300
	maxRequestID   = 128
)

// scrubbed replaces a secret.
const scrubbed = "[secret]"

var (
	// cutToken is the beginning of a JWT: a text that repeats one may have cut it.
	cutToken = regexp.MustCompile(`eyJ[\w~+/=-]{8,}`)
	// codeLike is what an errorCode looks like.
	codeLike = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
)

// requestIDHeaders are the headers that may hold the id of a request. The vendor documents none;
// its answers pass an Envoy proxy, whose header is the first.
var requestIDHeaders = []string{"X-Request-Id", "X-Envoy-Request-Id", "X-MongoDB-Request-Id", "X-Correlation-Id"}

// scrubber removes secrets from the API's texts: all that are configured, those of one call, and what looks like one.
type scrubber struct {
	known *redact.Known
	own   func() *redact.Set // Made when there is a text.
}

func (c *Client) scrubber(own ...secret.Value) scrubber {
	return scrubber{known: c.known, own: sync.OnceValue(func() *redact.Set { return redact.NewSet(own...) })}
}

// text makes a text of the API fit for logs and records: printable, without secrets, and
// of at most 300 runes. Secrets are removed before the text is cut, and after characters that could
// split them are removed.
func (s scrubber) text(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, text)
	return shorten(strings.TrimSpace(s.scrub(text)), maxDetailRunes)
}

// scrub replaces the secrets and everything that looks like one.
func (s scrubber) scrub(text string) string {
	return cutToken.ReplaceAllString(s.known.Hide(text, s.own()), scrubbed)
}

// shorten cuts the text to at most n runes, the last of which then is an ellipsis.
func shorten(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}

// code returns the errorCode if it looks like one, else "".
func (s scrubber) code(code string) string {
	if !codeLike.MatchString(code) || s.scrub(code) != code {
		return ""
	}
	return code
}

// requestID returns the API's id of a request: at most 128 letters, digits and a few signs;
// "" where there is none, or where the header holds a secret.
func (s scrubber) requestID(header http.Header) string {
	for _, name := range requestIDHeaders {
		value := header.Get(name)
		id := strings.Map(func(r rune) rune {
			if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.:/=+", r)) {
				return r
			}
			return -1
		}, value)
		if id != "" && s.scrub(value) == value && s.scrub(id) == id {
			return id[:min(len(id), maxRequestID)]
		}
	}
	return ""
}
