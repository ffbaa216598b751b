package kinds

import (
	"net/url"
	"strings"
)

// parts takes a template apart: its texts, and the names of the parameters between them.
func parts(template string) (texts, names []string) {
	for {
		before, rest, found := strings.Cut(template, "{")
		texts = append(texts, before)
		if !found {
			return texts, names
		}
		name, after, _ := strings.Cut(rest, "}")
		names, template = append(names, name), after
	}
}

// fill puts values in the place of parameters, and reports whether there was one for each.
func fill(template string, value Values) (text string, whole bool) {
	texts, names := parts(template)
	var b strings.Builder
	whole = true
	for i, name := range names {
		v := value(name)
		whole = whole && v != ""
		b.WriteString(texts[i])
		b.WriteString(v)
	}
	b.WriteString(texts[len(texts)-1])
	return b.String(), whole
}

// Fill returns the path with escaped values: a name such as CN=a/b is one segment of it.
func (r Resource) Fill(value Values) string {
	text, _ := fill(r.Path, func(name string) string {
		if v := value(name); v != "." && v != ".." {
			return url.PathEscape(v)
		}
		return strings.ReplaceAll(value(name), ".", "%2E") // Else it would name another resource.
	})
	return text
}
