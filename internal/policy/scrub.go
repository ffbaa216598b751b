package policy

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"
)

// Limits of what is said of an error.
const (
	maxCauseBytes = 300
	shortestValue = 4 // Shorter values of an event would hit words of the message.
)

// quotedText is what an error of a conversion quotes.
var quotedText = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"?|`[^`]*`?")

// missingKey begins what an error says of a key that a map does not have: the key itself, which an
// expression may have made of a secret, or taken from a header.
const missingKey = "no such key: "

// cause is the text of an error of an expression without what it quotes of the event, which
// may be a secret. The name of a missing member stays, for it stands in the expression.
func cause(err error, text string, data any) string {
	if m, ok := errors.AsType[mistyped](err); ok {
		return m.Error()
	}
	detail := strings.ReplaceAll(err.Error(), "\n", " ")
	detail = quotedText.ReplaceAllString(detail, "…")
	if before, key, ok := strings.Cut(detail, missingKey); ok && !strings.Contains(text, key) {
		detail = before + missingKey + "…"
	}
	for _, value := range values(data) {
		if !strings.Contains(text, value) {
			detail = strings.ReplaceAll(detail, value, "…")
		}
	}
	if len(detail) > maxCauseBytes {
		detail = strings.ToValidUTF8(detail[:maxCauseBytes], "") + "…"
	}
	return detail
}

// values are all texts of an event that could be a secret, the longest first: one may be a
// part of another.
func values(data any) []string {
	var all []string
	var walk func(any)
	walk = func(value any) {
		switch v := value.(type) {
		case string:
			if len(v) >= shortestValue {
				all = append(all, v)
			}
		case []any:
			for _, one := range v {
				walk(one)
			}
		case map[string]any:
			for name, one := range v {
				walk(name)
				walk(one)
			}
		}
	}
	walk(data)
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(all)
}
