// Package retryafter reads the header Retry-After.
package retryafter

import (
	"net/http"
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

// Parse returns the moment that a header Retry-After names (RFC 9110 section
// 10.2.3), and false when it names none. The value is a number of seconds or one of the three
// forms of an HTTP date; date is the header Date of the same answer, or empty; now is when the
// answer came.
//
// The moment is never before now, and not capped, except that more than 10^9 seconds count as
// that. An HTTP date is a moment on the server's clock: if Date shows that ours is off by two
// seconds or more, the time between Date and the value counts instead.
func Parse(value, date string, now time.Time) (time.Time, bool) {
	value = strings.TrimSpace(value)
	if value != "" && strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > maxDelaySeconds { // All are digits, so err means too many.
			seconds = maxDelaySeconds
		}
		return now.Add(time.Duration(seconds) * time.Second), true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return time.Time{}, false
	}
	if sent, err := http.ParseTime(strings.TrimSpace(date)); err == nil && now.Sub(sent).Abs() >= maxClockSkew {
		at = now.Add(at.Sub(sent))
	}
	if at.Before(now) {
		at = now
	}
	return at, true
}
