package redact

import (
	"net/url"
	"strings"

	"rekey/internal/lazyregexp"
	"rekey/internal/secret"
)

// addURL takes in the password of a URL, its path with the query, unless that is short, and what in them is neither a name nor an id: texts about the same
// organization have those, too.
func (s *Set) addURL(u *url.URL, v secret.Value) {
	const noWord = 12 // Bytes.
	// A shorter one is a word, such as /slack, that files are called, too.
	if whole := u.RequestURI(); len(whole) >= noWord {
		s.add(whole, v, true)
	}
	password, _ := u.User.Password()
	s.add(password, v, false)
	query, err := url.PathUnescape(u.RawQuery) // A plus sign stays one.
	if err != nil {
		query = u.RawQuery
	}
	parts := append(strings.FieldsFunc(u.Path+"/"+query, func(r rune) bool { return strings.ContainsRune("/?&=", r) }), u.User.Username())
	for _, part := range parts {
		if len(part) >= noWord && !IsNameOrID(part) {
			s.add(part, v, false)
		}
	}
}

// IsNameOrID reports whether a value of an address or a header is words with numbers, a version, a date, or an id of Atlas.
func IsNameOrID(value string) bool { return nameOrID.MatchString(value) }

// nameOrID is what a URL has beside secrets: words with numbers, versions, dates, an id of Atlas.
var nameOrID = lazyregexp.New(`^(?:[0-9a-f]{24}|` + wordOrNumber + `(?:[-_.:@+ ]+` + wordOrNumber + `)*)$`)

const wordOrNumber = `(?:(?:[A-Za-z][a-z]*(?:[A-Z][a-z]{2,})*|[A-Z]+)?\d{0,4}|\d{5,8})`
