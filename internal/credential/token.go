package credential

import (
	"fmt"
	"unicode/utf8"
)

// Bounds of a bearer token, in bytes.
const (
	// MaxTokenBytes bounds a token. Those of Atlas are JWTs of about 1 KiB.
	MaxTokenBytes = 16 << 10
	// minTokenBytes is the least that a token may have. What is shorter is a part of one, or a word.
	minTokenBytes = 10
)

// CheckToken says what keeps a text from being a bearer token that can be revoked, or returns "". It is the one rule
// for all ways in which a token comes: visible ASCII (RFC 6749 appendix A.12), and nothing that is known to be something
// else. The API answers 200 to any text (RFC 7009 section 2.2), so no later check could find it. What it says begins
// with a verb, and repeats nothing of the text but the code point of one character that cannot be in a token.
func CheckToken(text string) string {
	if text == "" || len(text) > MaxTokenBytes {
		return fmt.Sprintf("must have 1 to %d bytes", MaxTokenBytes)
	}
	if id := Identify(text); id.What != "" {
		return fmt.Sprintf("is %s, and no bearer token: %s", id.What, id.Advice)
	}
	if detail := CheckVisible(text); detail != "" {
		return detail
	}
	if len(text) < minTokenBytes {
		return fmt.Sprintf("has %d characters, which is too short for a bearer token: hand over the whole token", len(text))
	}
	return ""
}

// CheckVisible says, with a verb first, which character of a text is not visible ASCII and where it is, or returns "".
func CheckVisible(text string) string {
	position := 0
	for at, r := range text {
		position++
		if r > ' ' && r <= '~' {
			continue
		}
		if _, size := utf8.DecodeRuneInString(text[at:]); r == utf8.RuneError && size == 1 {
			return fmt.Sprintf("must be visible ASCII: character %d is the byte 0x%02X, which is no UTF-8", position, text[at])
		}
		name := ""
		if known, ok := characters[r]; ok {
			name = ", " + known
		}
		return fmt.Sprintf("must be visible ASCII: character %d is %U%s", position, r, name)
	}
	return ""
}

// characters are what slips into a text unseen, or looks like ASCII.
var characters = map[rune]string{
	0:      "a NUL",
	'\t':   "a tab",
	'\n':   "a line feed",
	'\r':   "a carriage return",
	' ':    "a space",
	0x7f:   "a delete",
	0xa0:   "a no-break space",
	0xad:   "a soft hyphen",
	0x200b: "a zero-width space",
	0x200c: "a zero-width non-joiner",
	0x200d: "a zero-width joiner",
	0x200e: "a left-to-right mark",
	0x200f: "a right-to-left mark",
	0x2010: "a hyphen that is not ASCII",
	0x2011: "a non-breaking hyphen",
	0x2013: "an en dash",
	0x2014: "an em dash",
	0x2018: "a curly quote",
	0x2019: "a curly quote",
	0x201c: "a curly quote",
	0x201d: "a curly quote",
	0x2026: "an ellipsis",
	0x2028: "a line separator",
	0x202a: "a sign that turns the direction of text",
	0x202d: "a sign that turns the direction of text",
	0x202e: "a sign that turns the direction of text",
	0x202f: "a narrow no-break space",
	0x2060: "a word joiner",
	0x3000: "an ideographic space",
	0xfeff: "a byte order mark",
	0xfffd: "a replacement character: bytes were lost before",
}
