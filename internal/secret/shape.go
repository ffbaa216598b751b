package secret

import (
	"regexp"
	"strings"
)

// shapes are credentials that can be told by their look: secrets of Atlas service accounts and
// JSON Web Tokens.
var shapes = regexp.MustCompile(`mdb_sa_sk_[A-Za-z0-9_-]+|eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?`)

// HasShape reports whether a text holds something with the look of a credential.
func HasShape(text []byte) bool { return shapes.Match(text) }

// ReplaceShapes returns the text with a mark instead of everything with the look of a credential.
func ReplaceShapes(text []byte) []byte {
	return shapes.ReplaceAllFunc(text, func(found []byte) []byte { return []byte(Mark(New(string(found)))) })
}

// shortestKnown is the length in bytes from which a known secret is looked for in a text: a shorter
// one would be found everywhere.
const shortestKnown = 6

// Scrub returns a text that may be shown: without the known secrets, and without what has the look
// of one.
func Scrub(text string, known ...Value) string {
	for _, v := range known {
		if plain := v.Reveal(); len(plain) >= shortestKnown {
			text = strings.ReplaceAll(text, plain, Mark(v))
		}
	}
	return string(ReplaceShapes([]byte(text)))
}

// Mark stands for a credential in a text that may be shown, and lets people recognise it.
func Mark(v Value) string { return "[redacted " + v.Fingerprint() + "]" }
