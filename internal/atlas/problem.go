package atlas

import (
	"bytes"
	"encoding/json"
	"math"
	"mime"
	"regexp"
	"strconv"
	"strings"
	"time"

	"rekey/internal/pace"
)

// problem is the error document of an answer, of the Admin API
// ({"error":404,"errorCode":…,"detail":…,"parameters":[…]}) or of OAuth
// ({"error":"invalid_client","error_description":…}, RFC 6749 section 5.2).
type problem struct {
	// code is the errorCode, or OAuth's error. It may be empty: the Admin API's 401 has none.
	code string
	// admin says that the document is the Admin API's.
	admin bool
	// detail is the text for people.
	detail string
	// wait is how many seconds the text or the parameters of a rate limit ask to wait, as a
	// decimal number; empty when they name none.
	wait string
	// limit is the bucket that a rate limit names; zero when it names none.
	limit pace.Limit
}

// retryAfterText is the wait in the API's prose.
var retryAfterText = regexp.MustCompile(`(?i)\bretry after (\d+(?:\.\d+)?) seconds?\b`)

// parseProblem reads an error document, and reports whether the body is one.
func parseProblem(body []byte) (problem, bool) {
	body = bytes.TrimSpace(body)
	var fields map[string]json.RawMessage
	if len(body) == 0 || body[0] != '{' || json.Unmarshal(body, &fields) != nil {
		return problem{}, false
	}
	var p problem
	if code, ok := text(fields["errorCode"]); ok && code != "" {
		p.code, p.admin = code, true
	}
	if code, ok := text(fields["error"]); ok && code != "" {
		if p.code == "" {
			p.code = code
		}
	} else if _, ok := number(fields["error"]); ok {
		p.admin = true
	}
	if !p.admin && p.code == "" {
		return problem{}, false
	}
	for _, name := range []string{"detail", "error_description", "reason"} {
		if detail, ok := text(fields[name]); ok && p.detail == "" {
			p.detail = detail
		}
	}
	p.wait = waitOf(p, fields["parameters"])
	p.limit = limitOf(p, fields["parameters"])
	return p, true
}

// The limits in the API's prose: the Admin API's and OAuth's.
var (
	adminLimitText = regexp.MustCompile(`(?i)\bcapacity: (\d+)\. refill rate: (\d+) per (\d+) (second|minute)s?\b`)
	oauthLimitText = regexp.MustCompile(`(?i)\blimited to (\d+) requests every (\d+) (second|minute)s?\b`)
)

// limitOf returns the bucket of a rate limit: the parameters of RATE_LIMITED_TOKEN_BUCKET
// (path, seconds to wait, capacity, refill rate, refill seconds), else the one in the text.
func limitOf(p problem, raw json.RawMessage) pace.Limit {
	if !p.rateLimited() {
		return pace.Limit{}
	}
	var parameters []json.RawMessage
	if json.Unmarshal(raw, &parameters) == nil && len(parameters) >= 5 {
		var counts [3]int
		complete := true
		for i := range counts {
			n, ok := number(parameters[2+i])
			complete = complete && ok && n >= 1 && n <= maxCount && n == math.Trunc(n)
			counts[i] = int(n)
		}
		if complete {
			return pace.Limit{Capacity: counts[0], Refill: counts[1], Every: time.Duration(counts[2]) * time.Second}
		}
	}
	if found := adminLimitText.FindStringSubmatch(p.detail); found != nil {
		return textLimit(found[1], found[2], found[3], found[4])
	}
	if found := oauthLimitText.FindStringSubmatch(p.detail); found != nil {
		return textLimit(found[1], found[1], found[2], found[3])
	}
	return pace.Limit{}
}

func textLimit(capacity, refill, every, unit string) pace.Limit {
	period := time.Second
	if strings.EqualFold(unit, "minute") {
		period = time.Minute
	}
	count := func(text string) int {
		if n, err := strconv.Atoi(text); err == nil && n <= maxCount {
			return n
		}
		return 0 // No limit then.
	}
	return pace.Limit{Capacity: count(capacity), Refill: count(refill), Every: time.Duration(count(every)) * period}
}

// waitOf returns the seconds that a rate limit asks to wait: the second parameter of
// RATE_LIMITED_TOKEN_BUCKET (path, seconds to wait, capacity, refill rate, refill seconds),
// else those in the text.
func waitOf(p problem, raw json.RawMessage) string {
	if !p.rateLimited() {
		return ""
	}
	var parameters []json.RawMessage
	if json.Unmarshal(raw, &parameters) == nil && len(parameters) > 1 {
		if seconds, ok := number(parameters[1]); ok && seconds >= 0 {
			// Rounded up, and without an exponent however long.
			return strconv.FormatFloat(math.Ceil(seconds), 'f', 0, 64)
		}
	}
	if found := retryAfterText.FindStringSubmatch(p.detail); found != nil {
		return found[1]
	}
	return ""
}

// rateLimited reports whether the code is that of a rate limit. The API has been seen to
// report one with status 400.
func (p problem) rateLimited() bool {
	return strings.Contains(p.code, "RATE_LIMITED") || p.code == "rate_limited"
}

// text returns a JSON string, and false for anything else.
func text(raw json.RawMessage) (string, bool) {
	var value *string // Stays nil for null.
	if json.Unmarshal(raw, &value) != nil || value == nil {
		return "", false
	}
	return *value, true
}

// number returns a JSON number, and false for anything else.
func number(raw json.RawMessage) (float64, bool) {
	var value *float64
	if json.Unmarshal(raw, &value) != nil || value == nil {
		return 0, false
	}
	return *value, true
}

// isHTML reports whether the answer is a page for people, such as a proxy's.
func isHTML(ex exchange) bool {
	mediaType, _, err := mime.ParseMediaType(ex.header.Get("Content-Type"))
	return err == nil && (mediaType == "text/html" || mediaType == "application/xhtml+xml") && len(ex.body) > 0 ||
		bytes.HasPrefix(bytes.TrimSpace(ex.body), []byte("<"))
}
