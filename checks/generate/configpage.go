package main

import (
	"context"
	"fmt"
	"strings"
)

const configPage = "docs/configure.md"

const configHead = `# Configure

<!-- Written by "make generate" from the types in internal/config and their comments. Change those. -->

One YAML file. [configs/worker.yaml](../configs/worker.yaml) is the same as an example to start from, with every key and
its default. The file is read strictly: an unknown key, a key that is set twice and a wrong type are errors with their
lines, and this reports all of them at once:

` + "```sh run\nworker config check configs/worker.yaml\n```" + `

A duration is a number with its unit (500ms, 30s, 5m, 1h30m); there is no unit for days. Secrets never stand in the
file: for each there are two keys, of which one is set. ` + "`*_file`" + ` is the path of a file that holds the secret and nothing
else, ` + "`*_env`" + ` the name of an environment variable that holds it. Both are read when the secret is needed.

Editors complete and check the file with [schema/config.schema.json](schema/config.schema.json), for instance those with
the YAML language server by a first line of

` + "```yaml\n# yaml-language-server: $schema=../docs/schema/config.schema.json\n```" + `

[schema/event.schema.json](schema/event.schema.json) does the same for events.
`

// configDocs is the page about all keys.
func configDocs(_ context.Context, root string) (map[string][]byte, error) {
	s, err := readSource(root, packages()...)
	if err != nil {
		return nil, err
	}
	var page strings.Builder
	page.WriteString(configHead)
	if err := s.section(&page, "", "config.Config", map[string]bool{}); err != nil {
		return nil, err
	}
	return map[string][]byte{configPage: []byte(page.String())}, nil
}

// section writes the table of a struct, and after it those of the structs in it.
func (s *source) section(page *strings.Builder, path, name string, seen map[string]bool) error {
	fields, err := s.fields(name)
	if err != nil {
		return err
	}
	if path != "" {
		fmt.Fprintf(page, "\n## %s\n\n%s\n", path, s.sentence(name))
	}
	page.WriteString("\n| key | type | meaning |\n|---|---|---|\n")
	for _, f := range fields {
		key := "`" + f.key + "`"
		if f.secret {
			key = "`" + f.key + "_file`, `" + f.key + "_env`"
		}
		fmt.Fprintf(page, "| %s | %s | %s |\n", key, s.typeWord(f.kind, join(path, f.key)), s.meaning(f))
	}
	for _, f := range fields {
		inner, child := f.kind, join(path, f.key)
		if inner.name == "list" || inner.name == "map" {
			inner, child = *inner.of, child+"[]"
		}
		if inner.name != "struct" || seen[inner.strct] {
			continue
		}
		seen[inner.strct] = true
		if err := s.section(page, child, inner.strct, seen); err != nil {
			return err
		}
	}
	return nil
}

// sentence is the comment of a type without its name.
func (s *source) sentence(name string) string {
	pkg, short, _ := strings.Cut(name, ".")
	rest := strings.TrimPrefix(s.docs[name], short+" ")
	return s.prose(pkg, strings.TrimPrefix(strings.TrimPrefix(rest, "is "), "are "), nil)
}

// meaning is what the table says of a key: its own comment, else the first sentence about its type.
func (s *source) meaning(f field) string {
	doc := f.doc
	if doc == "" && f.kind.name == "struct" {
		doc, _, _ = strings.Cut(s.sentence(f.kind.strct), ". ")
		doc = strings.TrimSuffix(doc, ".") + "."
	}
	return strings.ReplaceAll(doc, "|", `\|`)
}

func (s *source) typeWord(kind typeOf, path string) string {
	switch kind.name {
	case "list":
		if kind.of.name == "struct" {
			return "list of mappings, see " + path + "[]"
		}
		if len(kind.of.values) > 0 {
			return "list of " + s.typeWord(*kind.of, path)
		}
		return "list of " + s.typeWord(*kind.of, path) + "s"
	case "map":
		return "mapping to " + s.typeWord(*kind.of, path) + "s"
	case "struct":
		return "mapping, see " + path
	case "time":
		return "time, RFC 3339"
	}
	if len(kind.values) > 0 {
		return "`" + strings.Join(kind.values, "`, `") + "`"
	}
	return kind.name
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
