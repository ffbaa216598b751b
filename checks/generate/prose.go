package main

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

var goName = regexp.MustCompile(`\b(?:[A-Za-z]+\.)?[A-Z][A-Za-z0-9]*\b`)

// shortForms are how comments of Go name a default, and how a sentence does.
var shortForms = []struct {
	pattern *regexp.Regexp
	long    string
}{
	{regexp.MustCompile(`\bDefault and empty: `), "Empty, the default, means: "},
	{regexp.MustCompile(`\bDefault and zero: `), "Zero, the default, means: "},
	{regexp.MustCompile(`\bDefault `), "The default is "},
	{regexp.MustCompile(`\bEmpty: `), "Empty means: "},
	{regexp.MustCompile(`\bZero: `), "Zero means: "},
	{regexp.MustCompile(`\(default\)`), "(the default)"},
	{regexp.MustCompile(`\(default and empty\)`), "(the default)"},
}

// prose turns a comment of Go into the words of the file: names of fields become keys and names of constants become
// values, so that each sentence begins with the key that it explains, and short forms are written out.
func (s *source) prose(pkg, doc string, keys map[string]string) string {
	doc = goName.ReplaceAllStringFunc(doc, func(name string) string {
		short := name[strings.LastIndex(name, ".")+1:]
		if key, ok := keys[short]; ok {
			return "`" + key + "`"
		}
		qualified := name
		if !strings.Contains(name, ".") {
			qualified = pkg + "." + name
		}
		if value, ok := s.consts[qualified]; ok {
			return "`" + value + "`"
		}
		if key, ok := s.fieldKey(pkg, name); ok {
			return "`" + key + "`"
		}
		return name
	})
	for _, short := range shortForms {
		doc = short.pattern.ReplaceAllString(doc, short.long)
	}
	first, size := utf8.DecodeRuneInString(doc)
	if size > 0 {
		doc = string(unicode.ToUpper(first)) + doc[size:]
	}
	return doc
}

// fieldKey is the key of a field that is named with its type, as in NATS.URL.
func (s *source) fieldKey(pkg, name string) (string, bool) {
	owner, short, ok := strings.Cut(name, ".")
	if !ok {
		return "", false
	}
	for _, f := range s.rawFields(pkg + "." + owner) {
		if f.name == short {
			return strings.ToLower(owner) + "." + f.key, true
		}
	}
	return "", false
}
