package policy

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"

	"rekey/internal/jobs"
)

// Limits of what is said of an error.
const (
	maxCauseBytes = 300
	maxErrorBytes = 4 << 10 // No error of an expression has as many, but for what it quotes.
	shortestValue = 4       // Shorter values of an event would hit words of the message.
)

// quotedText is what an error of a conversion quotes.
var quotedText = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"?|`[^`]*`?")

// missingKey begins what an error says of a key that a map does not have: the key itself, which an
// expression may have made of a secret, or taken from a header.
const missingKey = "no such key: "

// cause is the text of an error of an expression without what it quotes of the event, which
// may be a secret. The name of a missing member stays, for it is in the expression.
func cause(err error, text string, data any) string {
	if m, ok := errors.AsType[safeError](err); ok {
		return m.Error()
	}
	detail := strings.ReplaceAll(err.Error(), "\n", " ")
	detail = quotedText.ReplaceAllString(detail, "…")
	if before, key, ok := strings.Cut(detail, missingKey); ok && !strings.Contains(text, key) {
		detail = before + missingKey + "…"
	}
	if len(detail) > maxErrorBytes {
		return "the error is too long to be shown"
	}
	for _, value := range values(data, func(value string) bool { return strings.Contains(detail, value) && !strings.Contains(text, value) }) {
		detail = strings.ReplaceAll(detail, value, "…")
	}
	if len(detail) > maxCauseBytes {
		detail = strings.ToValidUTF8(detail[:maxCauseBytes], "") + "…"
	}
	return detail
}

// values are those texts of an event that could be a secret and are wanted, the longest first: one may
// be a part of another.
func values(data any, wanted func(string) bool) []string {
	var all []string
	jobs.EachText(data, func(text string) bool {
		if len(text) >= shortestValue && wanted(text) {
			all = append(all, text)
		}
		return true
	})
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(all)
}
