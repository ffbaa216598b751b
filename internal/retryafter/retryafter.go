// Package retryafter reads the header Retry-After, and the dates of HTTP.
package retryafter

import (
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// maxDelaySeconds is what longer delays count as: about 32 years, far beyond any cap, and
	// far from what a time.Duration can hold.
	maxDelaySeconds = 1_000_000_000
	// maxClockSkew is how far our clock may be from the server's before we trust a difference of
	// its times more than our own. The header Date is up to a second old when it is written.
	maxClockSkew = 2 * time.Second
)

// decimal is a number of seconds, maybe with a fraction.
var decimal = regexp.MustCompile(`^(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)$`)

// Parse returns the moment that a header Retry-After names (RFC 9110 section
// 10.2.3), and false when it names none. The value is a number of seconds, of which a fraction
// counts as a whole one, or a date; date is the header Date of the same answer, or empty; now is
// when the answer came.
//
// The moment is never before now, and not capped, except that more than 10^9 seconds count as
// that. A date is a moment on the server's clock: if Date shows that ours is off by two
// seconds or more, the time between Date and the value counts instead.
func Parse(value, date string, now time.Time) (time.Time, bool) {
	value = strings.TrimSpace(value)
	if decimal.MatchString(value) {
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil || seconds > maxDelaySeconds { // The form is right, so err means too much.
			seconds = maxDelaySeconds
		}
		return now.Add(time.Duration(math.Ceil(seconds)) * time.Second), true
	}
	at, ok := ParseDate(value)
	if !ok {
		return time.Time{}, false
	}
	if sent, ok := ParseDate(date); ok && now.Sub(sent).Abs() >= maxClockSkew {
		at = now.Add(at.Sub(sent))
	}
	if at.Before(now) {
		at = now
	}
	return at, true
}

// utc are other names of GMT at the end of a date.
var utc = regexp.MustCompile(`(?i)\s*\b(?:GMT|UTC|UT|Z)$|\s*[+-]00:?00$`)

// ParseDate reads a date as HTTP has them (RFC 9110 section 5.6.7): in the form of today and in both that are obsolete.
// What else can mean one moment only is read as well: UTC or +0000 instead of GMT, other offsets, a day of one digit,
// RFC 3339. The name of any other zone is not: it may mean several.
func ParseDate(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	plain := utc.ReplaceAllString(text, " GMT")
	if at, err := http.ParseTime(plain); err == nil {
		return at, true
	}
	for _, layout := range []string{
		"Mon, 2 Jan 2006 15:04:05 GMT", "2 Jan 2006 15:04:05 GMT", "Mon Jan _2 15:04:05 2006 GMT",
	} {
		if at, err := time.Parse(layout, plain); err == nil {
			return at.UTC(), true
		}
	}
	for _, layout := range []string{"Mon, 2 Jan 2006 15:04:05 -0700", "Monday, 02-Jan-06 15:04:05 -0700", time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}
