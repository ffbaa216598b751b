package redact

import (
	"slices"
	"strings"

	"rekey/internal/lazyregexp"
)

// URLSecrets finds the passwords in URLs, scheme://user:password@host, whatever the scheme, and a text that is there alone
// and is no name, as the token of a server does. The slashes may be escaped, as in JSON.
func URLSecrets(text string) []Span {
	var spans []Span
	for at := 0; ; {
		from, after := nextAuthority(text, at)
		if from < 0 {
			return spans
		}
		at = after
		if secret, ok := userSecret(text, from); ok {
			spans = append(spans, secret)
		}
	}
}

// nextAuthority returns where the next URL's authority begins, from at on, and where to go on; -1 when there is none.
func nextAuthority(text string, at int) (from, after int) {
	for at < len(text) {
		colon := strings.Index(text[at:], ":")
		if colon < 0 {
			break
		}
		colon += at
		at = colon + 1
		for _, slashes := range []string{"//", `\/\/`} {
			if strings.HasPrefix(text[at:], slashes) && colon > 0 && isAlphanumeric(text[colon-1]) {
				return at + len(slashes), at + len(slashes)
			}
		}
	}
	return -1, at
}

// longestURL bounds how far the end of a URL's user information is looked for, in bytes.
const longestURL = 512

// userSecret returns the secret in the user information of a URL whose authority begins there.
func userSecret(text string, from int) (Span, bool) {
	run := text[from:min(len(text), from+longestURL)]
	if !strings.Contains(run, "@") {
		return Span{}, false
	}
	if end := strings.IndexFunc(run, endsURL); end >= 0 {
		run = run[:end]
	}
	authority := run
	if end := strings.IndexAny(run, `/?#\`); end >= 0 {
		authority = run[:end]
	}
	at, colon := strings.LastIndex(authority, "@"), strings.Index(authority, ":")
	if host := authority[at+1:]; !strings.HasPrefix(host, "[") && !endsInPort(host) {
		at = strings.LastIndex(run, "@") // The password holds a slash, if by mistake.
	}
	switch {
	case at < 0:
		return Span{}, false
	case colon >= 0 && colon < at:
		return Span{from + colon + 1, from + at}, colon+1 < at
	}
	const longName = 20 // A longer one with digits is no name of a user.
	alone := run[:at]
	return Span{from, from + at}, len(alone) >= longName && looksRandom(alone) && !strings.Contains(alone, "@")
}

// endsURL reports whether a character can stand in no URL, or only around one.
func endsURL(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("\"'<>`", r) }

// endsInPort reports whether what follows the last colon of a host, or of a list of them, is a port.
func endsInPort(host string) bool {
	colon := strings.LastIndex(host, ":")
	return colon < 0 || strings.Trim(host[colon+1:], "0123456789") == ""
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

var (
	// namesKey is how people name an API key or a half of it before or behind its value.
	namesKey = lazyregexp.New(`(?i)(?:(?:public|private|programmatic)[ _-]?(?:api[ _-]?)?|\bapi[ _-]?)keys?(?:\b|\\)`)
	// namesID is how an id is named right before it.
	namesID = lazyregexp.New(`(?i)(?:id|uuid|guid|incident|event|trace|span|request|alert|case|ticket|correlation|session|run|job|finding|detection)\\?["']?[\s:=#/]{1,3}\\?["']?$`)
	// publicBefore is a public key right before its private half, with a sign between them or another one, and publicBehind
	// is one right behind it.
	publicBefore = lazyregexp.New(`(?:^|[^A-Za-z0-9_-]|\\[nrt])([a-z]{8})(?:\\?["']?\s{0,2}([:,;/|])\s{0,2}\\?["']?|(?:[^A-Za-z0-9]|\\[nrt]){1,6}(?:and )?)$`)
	publicBehind = lazyregexp.New(`^[^A-Za-z0-9]{1,6}(?:(?i:of|for|and|public|the|api|key|id|is)[ :=]{1,2}){0,4}["'(]?([a-z]{8})(?:$|[^A-Za-z0-9_-])`)
)

// words have eight letters, as a public key has, and are before UUIDs that are ids.
const words = " incident instance resource location customer document employee activity workflow campaign endpoint database artifact " +
	"identity operator delivery function approval schedule snapshot sentinel workload template relation response category " +
	"playbook revision detector platform security personal external internal original previous provider receiver producer " +
	"consumer business contract question occurred referred observed alerting defender pipeline registry assigned reserved " +
	"computer username argument variable hardware software firewall services settings paloalto finished accepted detected " +
	"reported affected "

// How far a name may be from its value, in bytes.
const (
	nameBefore = 40
	nameBehind = 30
)

// beforeUUID is how much of the text before a UUID is looked at for what it is.
const beforeUUID = 24

// keyPairs finds the private halves of Atlas' API keys: UUIDs beside a public key, or beside their name. Other UUIDs
// are ids, which people need.
func keyPairs(text string) []Span {
	var spans []Span
	var names [][]int // Found when there is a UUID; those that are too far before the next one are dropped.
	looked := false
	all := append(findUUIDs(text), findBareUUIDs(text)...)
	slices.SortFunc(all, func(a, b Span) int { return a.From - b.From })
	for _, at := range all {
		if !looked {
			names, looked = keyNames(text), true
		}
		for len(names) > 0 && names[0][1]+nameBefore < at.From {
			names = names[1:]
		}
		before := text[max(0, at.From-beforeUUID):at.From]
		behind := text[at.To:min(len(text), at.To+nameBehind)]
		named := len(names) > 0 && names[0][0] <= at.To+nameBehind
		if (named || hasPublic(before, behind)) && !namesID.MatchString(before) {
			spans = append(spans, at)
		}
	}
	return spans
}

// keyNames finds names of keys, but for those in the lines around a PEM block.
func keyNames(text string) [][]int {
	return slices.DeleteFunc(namesKey.FindAllStringIndex(text, -1), func(at []int) bool {
		return strings.HasPrefix(text[at[1]:], "-----")
	})
}

// findUUIDs finds UUIDs by their hyphens.
func findUUIDs(text string) []Span {
	const length = 36
	var spans []Span
	for at := 8; at+length-8 <= len(text); at++ {
		next := strings.IndexByte(text[at:], '-')
		if next < 0 {
			break
		}
		at += next
		from := at - 8
		if from+length > len(text) || text[at+5] != '-' || text[at+10] != '-' || text[at+15] != '-' || !isUUID(text[from:from+length]) {
			continue
		}
		if (from == 0 || !isAlphanumeric(text[from-1]) || from > 1 && text[from-2] == '\\') && (from+length == len(text) || !isAlphanumeric(text[from+length])) {
			spans = append(spans, Span{from, from + length})
			at = from + length - 1
		}
	}
	return spans
}

// findBareUUIDs finds UUIDs without their hyphens.
func findBareUUIDs(text string) []Span {
	const length = 32
	var spans []Span
	for at := 0; at < len(text); at++ {
		from, isHex := at, true
		for at < len(text) && isAlphanumeric(text[at]) {
			isHex = isHex && (text[at] <= '9' || text[at]|0x20 <= 'f')
			at++
		}
		if isHex && at-from == length {
			spans = append(spans, Span{from, at})
		}
	}
	return spans
}

// UUID is how the private halves of Atlas' API keys are written.
const UUID = `[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}`

var isUUID = lazyregexp.New(`^` + UUID + `$`).MatchString

// hasPublic reports whether a private half is beside a public key.
func hasPublic(before, behind string) bool {
	if !hasEight(before) && !hasEight(behind) {
		return false // As with most, and without the expressions.
	}
	if found := publicBefore.FindStringSubmatch(before); len(found) > 2 && (found[2] != "" && !isWord(found[1]) || looksPublic(found[1])) {
		return true
	}
	found := publicBehind.FindStringSubmatch(behind)
	return len(found) > 1 && looksPublic(found[1])
}

// hasEight reports whether a text has eight lower-case letters in a row.
func hasEight(text string) bool {
	run := 0
	for i := range len(text) {
		if run++; text[i] < 'a' || text[i] > 'z' {
			run = 0
		}
		if run == 8 {
			return true
		}
	}
	return false
}

func isWord(text string) bool { return strings.Contains(words, " "+text+" ") }

// looksPublic tells eight random letters, as a public key has, from a word.
func looksPublic(text string) bool {
	for i := range len(text) - 1 {
		if !strings.Contains(usual[text[i]-'a'], text[i+1:i+2]) {
			return !isWord(text)
		}
	}
	return false
}

// usual are, for each letter, those that follow it in English words of eight letters, counted in documentation. One in a hundred
// such words has another pair; of random letters, nineteen in twenty have one.
var usual = [26]string{
	"abcdfgiklmnprstuvwxy", "abcegijlmorstuwy", "acefghiklnopqrstuy", "acdefijlmorsuvwy", "abcdefghiklmnopqrstuvwxyz", "acdefgilorstuy",
	"acefghilmnoprsuy", "adefilorstuy", "abcdefgklmnoprstvxz", "acdefiosu", "abefilnopstw", "abcdefgilopstuvy",
	"abcdehiklmnopsuy", "abcdefghijklmnopqstuvwy", "abcdefgiklmnoprstuvwxy", "abcdefghiloprstuy", "u", "abcdefgiklmnoprstuvwy",
	"acehiklmnopqrstuwy", "abcdefghijklmnoprstuwxyz", "abcdefgilmnoprst", "aeio", "adehinoprs", "aceipstx",
	"acdeilmnopstwz", "eo",
}
