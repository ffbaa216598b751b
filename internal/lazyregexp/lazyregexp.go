// Package lazyregexp compiles a regular expression when it is first used. A package has many of them, and a command uses
// few: compiled when the process starts, they made every command some 25 ms slower.
package lazyregexp

import (
	"os"
	"regexp"
	"strings"
	"sync"
)

// Regexp is a regular expression that compiles itself. Its methods are those of regexp.Regexp.
type Regexp struct {
	expression string
	compiled   func() *regexp.Regexp
}

// New returns the regular expression without compiling it. An expression that is wrong panics when it is first used, and in
// tests at once, so that no test of a package passes with one.
func New(expression string) *Regexp {
	r := &Regexp{expression, sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })}
	if inTest {
		r.compiled()
	}
	return r
}

// inTest reports whether the process is a test, whose binary `go test` names PACKAGE.test.
var inTest = len(os.Args) > 0 && strings.HasSuffix(strings.TrimSuffix(os.Args[0], ".exe"), ".test")

// String is the expression.
func (r *Regexp) String() string { return r.expression }

// MatchString is that of regexp.Regexp.
func (r *Regexp) MatchString(text string) bool { return r.compiled().MatchString(text) }

// FindString is that of regexp.Regexp.
func (r *Regexp) FindString(text string) string { return r.compiled().FindString(text) }

// FindStringSubmatch is that of regexp.Regexp.
func (r *Regexp) FindStringSubmatch(text string) []string {
	return r.compiled().FindStringSubmatch(text)
}

// FindSubmatch is that of regexp.Regexp.
func (r *Regexp) FindSubmatch(text []byte) [][]byte { return r.compiled().FindSubmatch(text) }

// FindAllString is that of regexp.Regexp.
func (r *Regexp) FindAllString(text string, n int) []string {
	return r.compiled().FindAllString(text, n)
}

// FindAllStringIndex is that of regexp.Regexp.
func (r *Regexp) FindAllStringIndex(text string, n int) [][]int {
	return r.compiled().FindAllStringIndex(text, n)
}

// ReplaceAll is that of regexp.Regexp.
func (r *Regexp) ReplaceAll(text, template []byte) []byte {
	return r.compiled().ReplaceAll(text, template)
}

// ReplaceAllFunc is that of regexp.Regexp.
func (r *Regexp) ReplaceAllFunc(text []byte, replace func([]byte) []byte) []byte {
	return r.compiled().ReplaceAllFunc(text, replace)
}

// ReplaceAllString is that of regexp.Regexp.
func (r *Regexp) ReplaceAllString(text, template string) string {
	return r.compiled().ReplaceAllString(text, template)
}
