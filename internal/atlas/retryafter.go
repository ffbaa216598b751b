package atlas

import (
	"time"

	"rekey/internal/retryafter"
)

// retryAt returns the moment before which the API wants no further request. The header
// counts; where it is missing or makes no sense, what the error document says. Of several
// headers the longest counts.
func retryAt(ex exchange, said problem) (time.Time, bool) {
	var latest time.Time
	found := false
	for _, value := range ex.header.Values("Retry-After") {
		at, ok := retryafter.Parse(value, ex.header.Get("Date"), ex.at)
		if ok && at.After(latest) {
			latest = at
		}
		found = found || ok
	}
	if !found {
		return retryafter.Parse(said.wait, "", ex.at)
	}
	return latest, true
}
