package redact

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"rekey/internal/lazyregexp"
)

// longestName bounds how much of a name is looked at, and longestValue how far the end of a value is looked for, in bytes.
const (
	longestName  = 64
	longestValue = 16 << 10
)

// nouns are what the name of a secret ends with, without blanks, hyphens and underscores.
var nouns = []string{
	"token", "secret", "password", "passwd", "passphrase", "passcode", "privatekey", "secretkey", "apikey", "accesskey", "accountkey",
	"sharedkey", "signingkey", "encryptionkey", "masterkey", "servicekey", "authkey",
}

// shortNouns are those that must be a word of their own.
var shortNouns = []string{"pwd", "pass", "pw"}

// positions are no secrets, although they are called tokens.
var positions = lazyregexp.New(`(?:page|next|continuation|sync|cursor|resume|etag)token$`)

// named finds the values of which a name says that they are secret: password: x, client_secret=x, "private_key":"x", --token x.
// Sentences have such names, too: "the password: policy was changed".
func named(text string) []Span {
	var spans []Span
	hasOptions := strings.Contains(text, "--")
	for at := 0; at < len(text); at++ {
		isBlank := text[at] == ' ' || text[at] == '\t'
		if text[at] != ':' && text[at] != '=' && !(isBlank && hasOptions) || !endsLikeNoun(text[:at]) {
			continue
		}
		p, ok := pairAt(text, at)
		if !ok {
			continue
		}
		if value, found := p.value(text); found {
			spans = append(spans, value)
			at = value.To - 1
		}
	}
	return spans
}

// pair is a name and where its value begins.
type pair struct {
	isPassword bool // Else it may be an id.
	quoted     bool // The name is in quotes.
	colon      bool // As sentences have them, too.
	isNoun     bool // Its name is a word of sentences, as token is, and client_secret is not.
	from       int
}

// tails are what the nouns end with, so that most names can be ruled out quickly.
var tails = []string{"token", "secret", "word", "wd", "phrase", "code", "key", "pass", "pw"}

func endsLikeNoun(before string) bool {
	before = strings.TrimRight(before[max(0, len(before)-longestName):], "\\\"' \t0123456789")
	return slices.ContainsFunc(tails, func(tail string) bool {
		return len(before) >= len(tail) && strings.EqualFold(before[len(before)-len(tail):], tail)
	})
}

// separators are what names have between their words.
var separators = strings.NewReplacer("-", "", "_", "", " ", "")

// pairAt returns the pair whose sign between name and value is there: a colon, an equals sign, or the blank behind an option.
func pairAt(text string, at int) (pair, bool) {
	var p pair
	switch c := text[at]; {
	case c == '=' && at > 0 && strings.IndexByte(":=!<>", text[at-1]) >= 0:
		return p, false
	case c == ':' && strings.HasPrefix(text[at:], "://"):
		return p, false
	case c == ':' || c == '=':
		p.colon = c == ':' && !strings.HasPrefix(text[at:], ":=")
		p.from = at + 1
		for p.from < min(len(text), at+3) && (text[p.from] == '=' || text[p.from] == '>') {
			p.from++ // ==, :=, =>
		}
	case (c == ' ' || c == '\t') && isOption(text[:at]):
		p.colon, p.from = true, at+1
	default:
		return p, false
	}
	before := text[max(0, at-2*longestName):at]
	if ofPolicy.MatchString(before) && fieldOf.MatchString(text[at:min(len(text), at+longestName)]) {
		return p, false
	}
	name, quoted := nameIn(before)
	p.quoted = quoted
	compact := separators.Replace(strings.ToLower(strings.TrimRight(name, "0123456789")))
	for _, noun := range nouns {
		if strings.HasSuffix(compact, noun) && !positions.MatchString(compact) {
			p.isPassword, p.isNoun = strings.HasPrefix(noun, "pass"), compact == noun && !strings.ContainsAny(name, "-_")
			return p, true
		}
	}
	p.isPassword = true
	return p, endsInWord(strings.TrimRight(name, "0123456789"))
}

// A policy may be called leaked-token: what follows its name in a reason is the field that has erred.
var (
	ofPolicy = lazyregexp.New(`\bpolicy [\w-]+$`)
	fieldOf  = lazyregexp.New(`^: [a-z_]+(?:\[\d+\])?(?:\.[a-z_]+)*: `)
)

// isOption reports whether a text ends with the name of an option, as --password.
func isOption(before string) bool {
	before = before[max(0, len(before)-longestName):]
	dashes := strings.LastIndex(before, "--")
	return dashes >= 0 && strings.Trim(before[dashes:], "-") != "" && nameStart(before) <= dashes
}

// endsInWord reports whether one of the short nouns is the last word of a name.
func endsInWord(name string) bool {
	lower := strings.ToLower(name)
	for _, noun := range shortNouns {
		if at := len(name) - len(noun); strings.HasSuffix(lower, noun) &&
			(at == 0 || name[at-1] == '_' || name[at-1] == '-' || name[at] < 'a' && name[at-1] >= 'a') {
			return true
		}
	}
	return false
}

// nameIn returns the name that a text ends with, without its quotes.
func nameIn(before string) (name string, quoted bool) {
	before = strings.TrimRight(before, " \t")
	bare := strings.TrimRight(strings.TrimRight(before, `"'`), `\`)
	quoted = len(bare) < len(before)
	from := nameStart(bare)
	name = bare[from:]
	if from > 0 && bare[from-1] == '\\' && name != "" && strings.IndexByte("nrtbf", name[0]) >= 0 {
		name = name[1:] // It is behind an escape of JSON.
	}
	if first := bare[:from]; strings.EqualFold(name, "key") && strings.HasSuffix(first, " ") { // "API key"
		first = strings.TrimRight(first, " ")
		name = first[nameStart(first):] + " " + name
	}
	return name, quoted
}

func nameStart(text string) int {
	from := len(text)
	for from > 0 && (isAlphanumeric(text[from-1]) || text[from-1] == '_' || text[from-1] == '-') {
		from--
	}
	return from
}

// value returns where the pair's value is, and whether it is a secret.
func (p pair) value(text string) (Span, bool) {
	from := p.from
	for from < len(text) {
		r, size := utf8.DecodeRuneInString(text[from:])
		if r != ' ' && r != '\t' && r != '\u00a0' {
			break
		}
		from += size
	}
	rest := text[from:min(len(text), from+longestValue)]
	if place.MatchString(rest[:min(len(rest), longestName)]) {
		return Span{}, false // Before the end is looked for.
	}
	slashes := len(rest) - len(strings.TrimLeft(rest, `\`))
	if open := rest[slashes:]; open != "" && strings.IndexByte("\"'`", open[0]) >= 0 {
		begin := from + slashes + 1
		value := Span{begin, begin + quoteEnd(rest[slashes+1:], open[0], slashes)}
		inside := text[value.From:value.To]
		if !p.quoted && closes.MatchString(inside) {
			return value, false // The quote was the end of a text of JSON.
		}
		return value, inside != "" && !placeholder.MatchString(inside) && isValue(inside) && (p.quoted || !isStopWord(inside))
	}
	end := bareEnd(rest)
	value := Span{from, from + end}
	return value, end > 0 && p.tells(rest[:end], rest[end:])
}

// quoteEnd returns how far a text in quotes goes, of which each is behind so many backslashes.
func quoteEnd(text string, quote byte, slashes int) int {
	run := 0
	for at := range len(text) {
		switch {
		case text[at] == '\\':
			run++
			continue
		case text[at] == quote && (run == slashes || slashes == 0 && run%2 == 0):
			return at - slashes
		}
		run = 0
	}
	return len(text)
}

// bareEnd returns how far a value without quotes goes: to white space, or to what cannot be in one or is before another name.
func bareEnd(text string) int {
	at := 0
	for at < len(text) {
		r, size := utf8.DecodeRuneInString(text[at:])
		if unicode.IsSpace(r) || strings.ContainsRune("\"'`<>&", r) || at == 0 && strings.ContainsRune("{[(", r) ||
			strings.ContainsRune(",;|", r) && behindValue.MatchString(text[at+1:min(len(text), at+longestName)]) || r == '[' && isMark(text[at:]) {
			break
		}
		if r == '\\' {
			if at+1 == len(text) || strings.IndexByte(`nrtbfu"'/`, text[at+1]) >= 0 {
				break
			}
			size++
		}
		at = min(len(text), at+size)
	}
	return len(strings.TrimRight(text[:at], ".,;:)]}"))
}

// closes is how JSON goes on behind a text.
var closes = lazyregexp.New(`^\s*[,:}\]]`)

// behindValue is what follows a sign that is between values, and in none of them.
var behindValue = lazyregexp.New(`^(?:\s|$|["'}\]]|[A-Za-z_][\w.-]*["']?\s*[:=])`)

// tells reports whether a value without quotes is a secret, by what it is and what follows it.
func (p pair) tells(value, rest string) bool {
	switch {
	case !isValue(value) || isStopWord(value):
		return false
	case !p.isPassword && idLike.MatchString(value):
		return false
	case !p.colon:
		return true
	}
	if !wordLike.MatchString(value) || len(value) >= longWord {
		return true
	}
	if p.isNoun && !p.isPassword { // "fetching a token: EOF"
		return false
	}
	return !goesOn.MatchString(rest) || isName.MatchString(rest)
}

var (
	// idLike is what people write behind "token:" about one: the number of a ticket, an id, a date, a count.
	idLike = lazyregexp.New(`^(?:[A-Z][A-Z0-9]{1,9}-\d+|(?:INC|CHG|RITM|TASK|PRB|SIR)\d{4,}|#\d+|[0-9a-f]{24}|\d{1,5}|\d{4}-\d\d-\d\d(?:T\S*)?)$`)
	// wordLike is a word of a sentence, or a small number in it.
	wordLike = lazyregexp.New(`^(?:\p{L}\p{Ll}*|\p{Lu}+|\d{1,3})(?:['’/-]\p{L}\p{Ll}*)*$`)
	// goesOn is how a sentence goes on behind a word, and isName how another pair begins.
	goesOn = lazyregexp.New(`^,?[ \t]+[^\s,;&|]`)
	isName = lazyregexp.New(`^,?[ \t]+["']?[A-Za-z_][\w-]*["']?[ \t]*[:=]`)
	// place is the name of a place or a variable, the mark of one that was sealed, or an expression.
	place = lazyregexp.New(`^(?:sha256:|sealed:|vault:|file:|env:|op://|https?://|arn:|rekey-seal\.|item\.|event\.|\.{0,2}/[a-z][a-z0-9_.-]*(?:/|$)|~/|@\S*[./]|` +
		`\$[({]|\$[A-Za-z_]\w*$|%[A-Z_]+%|\{\{|\.{3}|\*{3}|…|-)`)
)

func isValue(value string) bool {
	return !place.MatchString(value) && strings.Trim(value, "*.-_…") != ""
}

// stopWords describe secrets: "token: revoked".
var stopWords = func() map[string]bool {
	words := map[string]bool{}
	for word := range strings.FieldsSeq("true false null nil none undefined empty set unset missing required optional yes no ok on off " +
		"unknown invalid valid expired revoked rotated leaked exposed compromised stolen lost found deleted removed disabled enabled changed " +
		"reset redacted hidden masked filtered public private active inactive pending refused accepted bearer basic digest opaque jwt static " +
		"string text see done failed wrong policy rotation leak n/a eof timeout") {
		words[word] = true
	}
	return words
}()

func isStopWord(value string) bool { return stopWords[strings.ToLower(value)] }
