package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a configuration file. Its text never repeats a value that could
// be a secret.
type Problem struct {
	File   string // Where it is, if in another file than Invalid names.
	Line   int    // From 1.
	Column int    // From 1, in characters.
	// Path is the key, like atlas.accounts[0].name; empty when the mistake is in the file as a whole or its syntax.
	Path    string
	Message string
}

// String returns "LINE: path.to.key: message".
func (p Problem) String() string {
	if p.Path == "" {
		return fmt.Sprintf("%d: %s", p.Line, p.Message)
	}
	return fmt.Sprintf("%d: %s: %s", p.Line, p.Path, p.Message)
}

// Invalid is the error for a file with mistakes: all of them, in the order of the lines.
type Invalid struct {
	File     string
	Problems []Problem
}

// Error returns a line "FILE:LINE: path.to.key: message" for each problem.
func (i *Invalid) Error() string {
	lines := make([]string, len(i.Problems))
	for n, problem := range i.Problems {
		lines[n] = cmp.Or(problem.File, i.File) + ":" + problem.String()
	}
	return strings.Join(lines, "\n")
}

// place is a position in the file.
type place struct{ line, column int }

// report collects the problems of one file. It keeps to one problem for one mistake: what
// follows from a problem that is already reported is left out.
type report struct {
	problems []Problem
	places   map[string]place // Of each key and list item, by its path.
	spoilt   map[string]bool  // Paths whose value is not known, because of a problem.
}

func newReport() *report {
	return &report{places: map[string]place{}, spoilt: map[string]bool{}}
}

// addAt reports a problem at a place of its own.
func (r *report) addAt(at place, path, format string, args ...any) {
	r.problems = append(r.problems, Problem{
		Line: max(at.line, 1), Column: max(at.column, 1), Path: path, Message: fmt.Sprintf(format, args...),
	})
}

// add reports what is wrong with the value at a path, or with its absence, unless something
// is reported there already.
func (r *report) add(path, format string, args ...any) {
	if r.spoilt[path] {
		return
	}
	r.spoilt[path] = true
	r.addAt(r.locate(path), path, format, args...)
}

// spoil marks paths about which nothing more is to be said.
func (r *report) spoil(paths ...string) {
	for _, path := range paths {
		r.spoilt[path] = true
	}
}

// anySpoilt reports whether something is wrong with one of the paths.
func (r *report) anySpoilt(paths ...string) bool {
	return slices.ContainsFunc(paths, func(path string) bool { return r.spoilt[path] })
}

// has reports whether the file says something at a path, be it right or wrong.
func (r *report) has(path string) bool {
	_, placed := r.places[path]
	return placed || r.spoilt[path]
}

// locate returns the place of a path, or else that of the nearest mapping or list around it.
func (r *report) locate(path string) place {
	for path != "" {
		if at, ok := r.places[path]; ok {
			return at
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return place{line: 1, column: 1}
}

// sorted returns the problems in the order of the file.
func (r *report) sorted() []Problem {
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
	return r.problems
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// item appends the index of a list item to a path.
func item(path string, index int) string { return fmt.Sprintf("%s[%d]", path, index) }
