package atlas

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
	// maxClockSkew is how far our clock may be from the API's before we trust a difference of
	// its times more than our own. The header Date is up to a second old when it is written.
	maxClockSkew = 2 * time.Second
)

// retryAt returns the moment before which the API wants no further request. The header
// counts; where it is missing or makes no sense, what the error document says. Of several
// headers the longest counts.
func retryAt(ex exchange, said problem) (time.Time, bool) {
	var latest time.Time
	found := false
	for _, value := range ex.header.Values("Retry-After") {
		at, ok := ParseRetryAfter(value, ex.header.Get("Date"), ex.at)
		if ok && at.After(latest) {
			latest = at
		}
		found = found || ok
	}
	if !found {
		return ParseRetryAfter(said.wait, "", ex.at)
	}
	return latest, true
}

// ParseRetryAfter returns the moment that a header Retry-After names (RFC 9110 section
// 10.2.3), and false when it names none. The value is a number of seconds or one of the three
// forms of an HTTP date; date is the header Date of the same answer, or empty; now is when the
// answer came.
//
// The moment is never before now, and not capped, except that more than 10^9 seconds count as
// that. An HTTP date is a moment on the API's clock: if Date shows that ours is off by two
// seconds or more, the time between Date and the value counts instead.
func ParseRetryAfter(value, date string, now time.Time) (time.Time, bool) {
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
