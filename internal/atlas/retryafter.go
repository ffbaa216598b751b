package atlas

import (
	"time"

	"go.uber.org/zap"

	"rekey/internal/retryafter"
)

// retryAt returns the moment before which the API wants no further request. The header
// counts; where it is missing or makes no sense, what the error document says. Of several
// headers the longest counts. odd is one that makes no sense, "" when there is none.
func retryAt(ex exchange, said problem) (latest time.Time, found bool, odd string) {
	for _, value := range ex.header.Values("Retry-After") {
		at, ok := retryafter.Parse(value, ex.header.Get("Date"), ex.at)
		if ok && at.After(latest) {
			latest = at
		}
		if found = found || ok; !ok {
			odd = value
		}
	}
	if !found {
		latest, found = retryafter.Parse(said.wait, "", ex.at)
	}
	return latest, found, odd
}

// noteOdd says once that a Retry-After makes no sense, and what counts instead.
func (c *Client) noteOdd(to endpoint, value string) {
	if value == "" || c.oddNoted.Swap(true) {
		return
	}
	const most = 60 // Runes: longer than any date.
	c.log.Warn("a Retry-After of the API is neither seconds nor a date, and is ignored: the error document counts, or the backoff; this is said once",
		zap.String("operation", to.operation), zap.String("value", shorten(c.scrubber().text(value), most)))
}
