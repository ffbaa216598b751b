package redact

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"rekey/internal/lazyregexp"
)

// Span is a part of a text, in bytes.
type Span struct{ From, To int }

// shape is how a credential looks inside of other text.
type shape struct {
	// hints are texts of which one is there wherever the shape is. They keep most texts from being looked through.
	// They are in lower case where folded is set, and the text is too when it is compared.
	hints  []string
	folded bool
	// sure says that nothing else looks like this. Of the others, some are ids.
	sure bool
	find func(text string) []Span
}

// boundary is the text before a credential that begins like a word. In JSON, that may be an escape.
const boundary = `(?:\b|\\[nrtbf])`

// harmless are what is left where a credential was taken out, and sealed values: nothing is found inside of them.
var harmless = lazyregexp.New(marks.String() + `|rekey-seal\.v[0-9]{1,3}\.X[A-Z2-7]{55}\.[A-Za-z0-9_-]+`)

// marks are what is left where a credential was taken out.
var marks = lazyregexp.New(`\[redacted(?: sha256:[0-9a-f]{12})?\]|\[secret\]`)

// harmlessHints are those of harmless.
var harmlessHints = []string{"[redacted", "[secret]", "rekey-seal."}

// secretLead begins the secrets of service accounts.
const secretLead = "mdb_sa_sk_"

// shapes are all looks of credentials inside of other text.
var shapes = slices.Concat([]shape{
	{hints: []string{secretLead}, folded: true, sure: true, find: submatches(`((?i:mdb_sa_sk_)[\w~+/=-]+(?:\.[\w~+/=-]+)*)`, nil)},
	{hints: []string{"eyJ"}, sure: true, find: submatches(`(eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)`, nil)},
	{hints: []string{"-----BEGIN "}, sure: true, find: submatches(`(-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----(?:[^-"]|-[^-"])*(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----)?)`, nil)},
	{hints: []string{"basic", "bearer"}, folded: true, sure: true, find: submatches(`(?i:`+boundary+`(?:basic|bearer)(?:[ :]|%20)+)(([\w.~+/=%-]{20,}))`, looksRandom)},
	{hints: []string{"authorization"}, folded: true, sure: true, find: submatches(`(?i:authorization\\?["']?\s*[:=]\s*\\?["']?(?:basic|bearer|token|apikey)[ :]+)([\w.~+/=%-]{6,})`, nil)},
	{hints: []string{"://", `:\/\/`}, sure: true, find: URLSecrets},
	{hints: leadsOfBase64, sure: true, find: inBase64(leadsOfBase64)},
	{hints: []string{"mongodb"}, folded: true, sure: true, find: submatches(`(?i)[\w.%+-]:([^\s"'<>`+"`"+`/]{1,200})@(?:[\w-]+\.)+mongodb(?:-\w+)?\.(?:net|com)`, nil)},
	{hints: []string{"@"}, find: submatches(`[\w.%+-]:(([^\s"'<>`+"`"+`/@]{3,200}))@[\w.-]+:[0-9]{2,5}\b`, looksRandom)},
	{hints: []string{"hooks.slack.com/"}, folded: true, sure: true, find: submatches(`(?i:hooks\.slack\.com/(?:services|workflows|triggers)/)([\w/-]{16,})`, nil)},
	{hints: []string{"/api/webhooks/", "/webhookb2/"}, folded: true, sure: true, find: submatches(`(?i:discord(?:app)?\.com/api/webhooks/|/webhookb2/)([\w/@-]{16,})`, nil)},
	{hints: []string{":", "=", "--"}, find: named},
	{hints: []string{"-u ", "--user"}, find: submatches(`(?:^|\s)(?:-u|--user)[ =]["']?[^\s:"'@/]+:(([^\s"']+))`, isValue)},
	{hints: []string{"akia", "asia"}, folded: true, find: submatches(`\b(?:AKIA|ASIA)[A-Z0-9]{16}\b[^A-Za-z0-9+]{1,12}(?:[A-Za-z_]{1,40}[^A-Za-z0-9+]{1,6})?(([A-Za-z0-9/+]{40}))\b`, looksRandom)},
	{hints: []string{"-", " ", ":", "=", "/"}, find: keyPairs},
}, foreignShapes())

// submatches finds the first group of an expression, where its second, if there is one, passes. The expression is compiled when it
// is first needed: few texts need most of them.
func submatches(expression string, passes func(string) bool) func(string) []Span {
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
	return func(text string) []Span {
		var spans []Span
		for _, at := range compiled().FindAllStringSubmatchIndex(text, -1) {
			if passes == nil || passes(text[at[4]:at[5]]) {
				spans = append(spans, Span{at[2], at[2] + len(strings.TrimRight(text[at[2]:at[3]], `\`))})
			}
		}
		return spans
	}
}

// shortest is the length of the shortest text in which something can be found.
const shortest = 4

// Find returns the parts of a text that look like a credential, in order and apart from one another.
func Find(text string) []Span { return find(text, false) }

// Certain reports whether something in a text can be nothing but a credential. Find also finds what some ids look like.
func Certain(text string) bool { return len(find(text, true)) > 0 }

// find looks at a text as it is, without its percent-encoding, and into what is in base64.
func find(text string, sure bool) []Span {
	if len(text) < shortest {
		return nil
	}
	var spans []Span
	for _, v := range views(text) {
		for _, s := range append(look(v.text, sure), encodedSecrets(v.text)...) {
			spans = append(spans, v.at(s))
		}
	}
	if len(spans) == 0 {
		return nil
	}
	slices.SortFunc(spans, func(a, b Span) int { return a.From - b.From })
	return Merge(text, without(spans, leftAlone(text, harmless)))
}

// look finds the shapes in a text as it is.
func look(text string, sure bool) []Span {
	var spans []Span
	folded := "" // Made when it is needed.
	for _, s := range shapes {
		in := text
		if s.folded {
			if folded == "" {
				folded = strings.ToLower(text)
			}
			in = folded
		}
		if (s.sure || !sure) && contains(in, s.hints) {
			spans = append(spans, s.find(text)...)
		}
	}
	return spans
}

// leftAlone are the parts of a text in which nothing is found.
func leftAlone(text string, harmless *lazyregexp.Regexp) []Span {
	if !contains(text, harmlessHints) {
		return nil
	}
	var spans []Span
	for _, at := range harmless.FindAllStringIndex(text, -1) {
		spans = append(spans, Span{at[0], at[1]})
	}
	return spans
}

// without leaves out the spans that reach into what is left alone. Both are in order.
func without(spans, alone []Span) []Span {
	return slices.DeleteFunc(spans, func(s Span) bool {
		for len(alone) > 0 && alone[0].To <= s.From {
			alone = alone[1:]
		}
		return len(alone) > 0 && alone[0].From < s.To
	})
}

// Merge puts spans of a text in order, and makes one of those that overlap. One that would begin inside of an escape, as
// JSON has them, begins with it: what is left around it stays what it was.
func Merge(text string, spans []Span) []Span {
	for i := range spans {
		spans[i].From = outOfEscape(text, spans[i].From)
	}
	slices.SortFunc(spans, func(a, b Span) int { return a.From - b.From })
	var merged []Span
	for _, s := range spans {
		if last := len(merged) - 1; last >= 0 && s.From < merged[last].To {
			merged[last].To = max(merged[last].To, s.To)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// outOfEscape returns the beginning of the escape (\n, \u0026) that a place in a text is inside of, else the place itself.
func outOfEscape(text string, place int) int {
	const longest = len(`\u0026`)
	for from := place - 1; from >= 0 && from > place-longest; from-- {
		if text[from] != '\\' {
			continue
		}
		before := text[:from+1]
		begins := (len(before)-len(strings.TrimRight(before, `\`)))%2 == 1
		if begins && (from == place-1 || text[from+1] == 'u') {
			return from
		}
		return place
	}
	return place
}

// Replace returns a text with something else in the place of everything that looks like a credential.
func Replace(text string, by func(found string) string) string {
	spans := Find(text)
	if len(spans) == 0 {
		return text
	}
	var b strings.Builder
	at := 0
	for _, s := range spans {
		b.WriteString(text[at:s.From])
		b.WriteString(by(text[s.From:s.To]))
		at = s.To
	}
	b.WriteString(text[at:])
	return b.String()
}
