package policy

import (
	"fmt"
	"regexp"
	"strings"

	"rekey/internal/jobs"
)

// filter is On, ready to use.
type filter struct {
	subjects [][]string // By tokens.
	types    []*regexp.Regexp
	sources  []*regexp.Regexp
}

// newFilter compiles On. namespace begins the subjects of all events.
func newFilter(on On, namespace string) (filter, []Problem) {
	var f filter
	var problems []Problem
	for i, pattern := range on.Subjects {
		tokens := strings.Split(pattern, ".")
		if detail := checkSubject(tokens, namespace); detail != "" {
			problems = append(problems, Problem{fmt.Sprintf("on.subjects[%d]", i), detail})
		}
		f.subjects = append(f.subjects, tokens)
	}
	globs := func(field string, patterns []string) (list []*regexp.Regexp) {
		for i, pattern := range patterns {
			if pattern == "" {
				problems = append(problems, Problem{fmt.Sprintf("on.%s[%d]", field, i), "is empty"})
			}
			list = append(list, glob(pattern))
		}
		return list
	}
	f.types, f.sources = globs("types", on.Types), globs("sources", on.Sources)
	return f, problems
}

// checkSubject says why a pattern is none or can match no event, or nothing.
func checkSubject(tokens []string, namespace string) string {
	for i, token := range tokens {
		if token == "" || strings.ContainsAny(token, " \t") || token == ">" && i < len(tokens)-1 ||
			len(token) > 1 && strings.ContainsAny(token, "*>") {
			return "is no pattern of subjects: * stands for one whole token, > for the rest"
		}
	}
	prefix := []string{namespace, "v1", "event"}
	for i, token := range prefix {
		switch {
		case i < len(tokens) && tokens[i] == ">":
			return ""
		case i >= len(tokens) || tokens[i] != "*" && tokens[i] != token:
			return "matches no event: their subjects begin with " + strings.Join(prefix, ".") + "."
		}
	}
	if len(tokens) == len(prefix) {
		return "matches no event: the class is missing, as in " + strings.Join(prefix, ".") + ".incident"
	}
	return ""
}

// glob compiles a pattern in which * stands for any characters.
func glob(pattern string) *regexp.Regexp {
	parts := strings.Split(pattern, "*")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	return regexp.MustCompile(`(?s)\A` + strings.Join(parts, `.*`) + `\z`)
}

// rejects says which list keeps an event out, or nothing.
func (f filter) rejects(e *jobs.Event) string {
	switch {
	case len(f.subjects) > 0 && !anySubject(f.subjects, strings.Split(e.Subject, ".")):
		return "on.subjects: none matches " + e.Subject
	case len(f.types) > 0 && e.Envelope.Type == "":
		return "on.types: the event has no type (plain JSON)"
	case len(f.types) > 0 && !anyGlob(f.types, e.Envelope.Type):
		return "on.types: none matches " + e.Envelope.Type
	case len(f.sources) > 0 && !anyGlob(f.sources, e.Source):
		return "on.sources: none matches " + e.Source
	}
	return ""
}

func anySubject(patterns [][]string, subject []string) bool {
	for _, pattern := range patterns {
		if subjectMatches(pattern, subject) {
			return true
		}
	}
	return false
}

func subjectMatches(pattern, subject []string) bool {
	for i, token := range pattern {
		switch {
		case i >= len(subject):
			return false
		case token == ">":
			return true
		case token != "*" && token != subject[i]:
			return false
		}
	}
	return len(pattern) == len(subject)
}

func anyGlob(patterns []*regexp.Regexp, text string) bool {
	for _, pattern := range patterns {
		if pattern.MatchString(text) {
			return true
		}
	}
	return false
}
