package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// maxSections is how many top-level sections a file with broken syntax may have to be looked
// at one by one. A configuration has seven keys.
const maxSections = 64

// parseYAML returns the root of the file's one document, nil when there is nothing to decode.
// What it reports has no path.
func parseYAML(r *report, data []byte) *yaml.Node {
	if len(data) > maxFileBytes {
		r.addAt(place{}, "", "the file is larger than %d MiB", maxFileBytes>>20)
		r.spoil("")
		return nil
	}
	if problem := checkText(data); problem != nil {
		r.problems = append(r.problems, *problem)
		r.spoil("")
		return nil
	}
	root, problem := document(data)
	if problem == nil {
		return root
	}
	before := len(r.problems)
	if root == nil {
		root = salvage(r, data)
	}
	if len(r.problems) == before {
		r.problems = append(r.problems, *problem)
		r.spoil("")
	}
	return root
}

// checkText finds what is not UTF-8 text. The YAML parser finds it too, but does not know the line.
func checkText(data []byte) *Problem {
	if utf16 := bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")); utf16 {
		return &Problem{Line: 1, Column: 1, Message: "is UTF-16 text: save the file as UTF-8"}
	}
	line, start := 1, 0
	for i := 0; i < len(data); {
		char, size := utf8.DecodeRune(data[i:])
		message := ""
		switch {
		case char == utf8.RuneError && size == 1:
			message = "is not valid UTF-8"
		case char == '\n':
			line, start = line+1, i+1
		case char == '\u2028', char == '\u2029', char == '\r' && !bytes.HasPrefix(data[i:], []byte("\r\n")):
			// YAML counts lines by these as well, editors do not.
			message = "only newlines may end a line"
		case unicode.IsControl(char) && char != '\t' && char != '\r':
			message = "control characters are not allowed"
		}
		if message != "" {
			return &Problem{Line: line, Column: utf8.RuneCount(data[start:i]) + 1, Message: message}
		}
		i += size
	}
	return nil
}

// document parses a text and returns the root of its first YAML document, nil when it has
// none or its syntax is broken. Nodes keep their lines; nothing is decoded yet. A second
// document is a problem, unless there is nothing in it.
func document(data []byte) (*yaml.Node, *Problem) {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, syntaxProblem(err, data)
	}
	var first, second yaml.Node
	if err := loader.Load(&first); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, syntaxProblem(err, data)
	}
	for {
		switch err := loader.Load(&second); {
		case errors.Is(err, io.EOF):
			return first.Content[0], nil
		case err != nil:
			return nil, syntaxProblem(err, data)
		case !isNull(second.Content[0]):
			return first.Content[0], &Problem{Line: second.Line, Column: second.Column, Message: secondDocument}
		}
	}
}

// secondDocument is what is wrong with the line on which a second YAML document begins. What seems to be missing in the
// first one may be in it.
const secondDocument = "this line begins a second document, and a configuration is one: nothing from here on is read; " +
	"take the line --- out, or move what follows into a file of its own"

// salvage takes a text with broken syntax apart into its top-level sections, so that a mistake
// in one of them hides no mistakes in the others. It returns a root of the sections that can
// be parsed, and reports and spoils the others.
func salvage(r *report, data []byte) *yaml.Node {
	starts, lines := sections(data)
	if len(starts) > maxSections {
		return nil
	}
	root := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1, Column: 1}
	for n, start := range starts {
		end := len(lines)
		if n+1 < len(starts) {
			end = starts[n+1]
		}
		section, problem := document(bytes.Join(lines[start:end], nil))
		if problem == nil && section != nil && section.Kind != yaml.MappingNode && !isNull(section) {
			problem = &Problem{Line: section.Line, Column: section.Column, Message: "must be written as key: value"}
		}
		if ends := documentEnd(lines[start:end]); problem == nil && section != nil && ends > 0 && n+1 < len(starts) {
			r.problems = append(r.problems, Problem{Line: start + ends + 1, Column: 1, Message: secondDocument})
		}
		switch {
		case problem != nil:
			problem.Line += start
			r.problems = append(r.problems, *problem)
			key, _, _ := strings.Cut(string(lines[start]), ":")
			r.spoil(strings.TrimSpace(key))
		case section != nil:
			moveDown(section, start)
			root.Content = append(root.Content, section.Content...)
		}
	}
	return root
}

// documentEnd is at which line (from 0) of a section, below its first, a document marker ends it, or 0.
func documentEnd(lines [][]byte) int {
	for n, line := range lines[1:] {
		if bytes.HasPrefix(line, []byte("---")) || bytes.HasPrefix(line, []byte("...")) {
			return n + 1
		}
	}
	return 0
}

// sections splits a text into lines, and says at which of them (from 0) a section begins: those
// that begin with a key.
func sections(data []byte) (starts []int, lines [][]byte) {
	starts = []int{0}
	lines = bytes.SplitAfter(data, []byte("\n"))
	for n, line := range lines {
		if n > 0 && len(line) > 0 && !strings.ContainsRune(" \t\r\n#-%.}]", rune(line[0])) {
			starts = append(starts, n)
		}
	}
	return starts, lines
}

// moveDown adds to the lines of a node and of all below it.
func moveDown(node *yaml.Node, lines int) {
	node.Line += lines
	for _, child := range node.Content {
		moveDown(child, lines)
	}
}

// hints say what is usually behind a message of the YAML parser.
var hints = map[string]string{
	"mapping values are not allowed in this context":         "check the indentation, and quote a value that has a colon",
	"found character that cannot start any token":            "tabs do not indent; quote a value that begins with @, % or a backquote",
	"did not find expected alphabetic or numeric character":  `quote a value that begins with * or &, as in "*/5 * * * *"`,
	"mapping keys are not allowed in this context":           "check the indentation, and quote a value that begins with ?",
	"did not find expected key":                              "check the indentation and the quotes",
	"could not find expected ':'":                            "write key: value",
	"block sequence entries are not allowed in this context": "begin a list on a line of its own",
}

// syntaxProblem makes a problem of what the YAML parser says. Messages that quote the file are
// replaced, as there may be a secret.
func syntaxProblem(err error, data []byte) *Problem {
	load, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		return &Problem{Line: 1, Column: 1, Message: "is not valid YAML"}
	}
	mark, message := load.Mark, load.Message
	switch {
	case load.Stage == yaml.ComposerStage:
		message = aliasMessage
	case load.Stage == yaml.ReaderStage:
		message = "is not valid UTF-8 text"
	case strings.HasPrefix(message, "found character '"):
		message = "found a character that is not allowed in a YAML tag"
	}
	// An open quote or bracket is noticed far below: what matters is where it was opened.
	for _, open := range []string{"while scanning a quoted scalar", "while parsing a flow", "while scanning a simple key"} {
		if strings.HasPrefix(load.ContextMsg, open) {
			mark = load.ContextMark
		}
	}
	if load.ContextMsg != "" {
		message = load.ContextMsg + ": " + message
	}
	if hint := hints[load.Message]; hint != "" {
		message = fmt.Sprintf("%s (%s)", message, hint)
	}
	// What is missed at the end of the file is missing on the last line that has something.
	last := bytes.Count(bytes.TrimRight(data, " \t\r\n"), []byte("\n")) + 1
	return &Problem{Line: min(max(mark.Line, 1), last), Column: max(mark.Column, 1), Message: message}
}
