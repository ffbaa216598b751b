package words_test

import (
	"bytes"
	"fmt"
	"go/scanner"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// text is a piece that is read as a whole: a comment, a string with those that are added to it, a document.
type text struct {
	words []byte // With single blanks in place of line breaks and of what begins a line.
	lines []int  // The line of each byte of words.
}

// add appends s, which begins at the line. Marks of comments and lists, blanks and line breaks become one blank.
func (x *text) add(s string, line int) {
	for i, part := range strings.Split(s, "\n") {
		part = strings.Join(strings.Fields(lineStart.ReplaceAllString(part, "")), " ")
		if part == "" {
			continue
		}
		if len(x.words) > 0 {
			part = " " + part
		}
		x.words = append(x.words, part...)
		x.lines = append(x.lines, slices.Repeat([]int{line + i}, len(part))...)
	}
}

var lineStart = regexp.MustCompile(`^\s*(?://|/\*|#+|>|\*/)?`)

// find returns "line: word: better" for each word of the list.
func find(texts []text) []string {
	var found []string
	for _, x := range texts {
		if !mayMatch(x.words) {
			continue
		}
		for _, r := range rules {
			for _, at := range r.pattern.FindAllIndex(x.words, -1) {
				if r.except != nil && r.except.Match(x.words[at[0]:]) {
					continue
				}
				found = append(found, fmt.Sprintf("%d: %q: better: %s", x.lines[at[0]], x.words[at[0]:at[1]], r.better))
			}
		}
	}
	return found
}

// stems are parts of all words of the list. Looking for them first makes this quick.
var stems = []string{"body", "one", "whoever", "ever", "again", "told", "stand", "stood", "what is", "what are", "say", "work", "away", "hear", "room"}

func mayMatch(words []byte) bool {
	lower := bytes.ToLower(words)
	return slices.ContainsFunc(stems, func(stem string) bool { return bytes.Contains(lower, []byte(stem)) })
}

// reader says how a file is read; what it does not know is left out.
func reader(name string) (func([]byte) []text, bool) {
	switch filepath.Ext(name) {
	case ".go":
		return readGo, true
	case ".md":
		if name == "CHANGELOG.md" {
			return readTopSection, true
		}
		return readMarkdown, true
	case ".yaml", ".yml", ".conf", ".sh", ".service", ".tpl", ".txt", ".txtar", ".json":
		return readText, true
	}
	return readText, name == "Makefile" || name == "run" || name == "build"
}

func readText(content []byte) []text {
	var x text
	x.add(string(content), 1)
	return []text{x}
}

var codeSpan = regexp.MustCompile("`[^`\n]*`")

// readMarkdown leaves out what is quoted between backquotes: commands, keys, and texts of former releases.
func readMarkdown(content []byte) []text {
	return readText(codeSpan.ReplaceAll(content, []byte("code")))
}

// readTopSection leaves out what earlier releases said.
func readTopSection(content []byte) []text {
	sections := bytes.SplitAfterN(content, []byte("\n## "), 3)
	return readMarkdown(bytes.Join(sections[:min(2, len(sections))], nil))
}

// readGo returns comments, strings and identifiers. Comments on lines that follow each other are one text, and so are
// strings that are added up.
func readGo(content []byte) []text {
	var (
		s     scanner.Scanner
		texts []text
		prev  token.Token
		end   int
	)
	fset := token.NewFileSet()
	file := fset.AddFile("", fset.Base(), len(content))
	s.Init(file, content, func(token.Position, string) {}, scanner.ScanComments)
	for {
		pos, tok, literal := s.Scan()
		if tok == token.EOF {
			return texts
		}
		line := file.Line(pos)
		if tok == token.SEMICOLON && literal == "\n" || tok == token.ADD && prev == token.STRING {
			continue
		}
		more := tok == prev && (tok == token.STRING || tok == token.COMMENT && line <= end+1)
		prev, end = tok, line+strings.Count(literal, "\n")
		literal, ok := readable(tok, literal)
		if !ok {
			continue
		}
		if !more {
			texts = append(texts, text{})
		}
		texts[len(texts)-1].add(literal, line)
	}
}

// readable returns what a person reads of a token, if anything.
func readable(tok token.Token, literal string) (string, bool) {
	if tok == token.COMMENT {
		return literal, !strings.HasPrefix(literal, "//go:")
	}
	if tok == token.IDENT {
		return split(literal), true
	}
	if tok != token.STRING {
		return "", false
	}
	if strings.HasPrefix(literal, "`") {
		return strings.Trim(literal, "`"), true
	}
	value, err := strconv.Unquote(literal)
	return strings.ReplaceAll(value, "\n", " "), err == nil
}

// split makes words of an identifier in camel case.
func split(name string) string {
	var b strings.Builder
	lower := false
	for _, r := range name {
		if lower && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		lower = unicode.IsLower(r)
		b.WriteRune(r)
	}
	return b.String()
}
