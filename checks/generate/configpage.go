package main

import (
	"context"
	"fmt"
	"strings"
)

const configPage = "docs/configure.md"

const configHead = `# Configure

<!-- Written by "make generate" from the types in internal/config and their comments. Change those. -->

The configuration is one YAML file. [configs/worker.yaml](../configs/worker.yaml) is the example to start from: it has every key with
its default. A small one looks like this:

` + "```yaml" + `
nats: {url: "tls://nats.example.com:4222", nkey_file: /run/secrets/nats.nk}
atlas:
  accounts:
    - {name: security, client_id: mdb_sa_id_0123456789abcdef01234567, client_secret_file: /run/secrets/security}
    - {name: legacy, public_key: abcdefgh, private_key_file: /run/secrets/legacy}
schedules:
  - name: weekly-jwks
    cron: "0 3 * * 0"
    time_zone: Europe/Berlin
    job:
      kind: jwks.revoke
      account: security
      params: {federation_id: 5ec0000000000000000000c1, identity_provider_id: 5ec0000000000000000000d2}
` + "```" + `

**NATS.** With ` + "`nats.url`" + ` the worker uses an external NATS with JetStream (2.12 or later), and any number of workers share the work.
Without it, the worker runs a server of its own on 127.0.0.1:4222, which syncs every write before it is acknowledged.

**Mistakes.** The file is read strictly: an unknown key, a key that is set twice and a wrong type are errors with their lines. This
command reports all of them at once:

` + "```sh run\nworker config check configs/worker.yaml\n```" + `

**Secrets** are never in the file. For each secret there are two keys, of which one is set: ` + "`*_file`" + ` is the path of a file that holds
the secret and nothing else, ` + "`*_env`" + ` is the name of an environment variable that holds it. Secrets are read again when they are needed,
for each login to the API and for each connection to NATS, so that a rotated file is used without a restart. The seed that signs events,
and the secrets of the embedded server, are read at the start.

**Durations** are a number with its unit (500ms, 30s, 5m, 1h30m). There is no unit for days.

**Reload.** A running worker [reloads](operate.md#reload) these keys, with what is below them; all others need a restart:
RELOADED.

**Editors** complete and check the file with [schema/config.schema.json](schema/config.schema.json). Those with the YAML language
server need this as the first line:

` + "```yaml\n# yaml-language-server: $schema=../docs/schema/config.schema.json\n```" + `

[schema/event.schema.json](schema/event.schema.json) does the same for events.

The tables below have each key with its type and a sentence about it.
`

// configDocs is the page about all keys.
func configDocs(ctx context.Context, root string) (map[string][]byte, error) {
	s, err := readSource(ctx, root, packages()...)
	if err != nil {
		return nil, err
	}
	var page strings.Builder
	live, err := s.live("", "config.Config")
	if err != nil {
		return nil, err
	}
	page.WriteString(strings.Replace(configHead, "RELOADED", strings.Join(live, ", "), 1))
	if err := s.section(&page, "", "config.Config", map[string]bool{}); err != nil {
		return nil, err
	}
	return map[string][]byte{configPage: []byte(page.String())}, nil
}

// live lists the keys of a struct that a running worker reloads.
func (s *source) live(path, name string) ([]string, error) {
	fields, err := s.fields(name)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, f := range fields {
		switch {
		case f.live:
			keys = append(keys, "`"+join(path, f.key)+"`")
		case f.kind.name == "struct":
			below, err := s.live(join(path, f.key), f.kind.strct)
			if err != nil {
				return nil, err
			}
			keys = append(keys, below...)
		}
	}
	return keys, nil
}

// section writes the table of a struct, and after it those of the structs in it.
func (s *source) section(page *strings.Builder, path, name string, seen map[string]bool) error {
	fields, err := s.fields(name)
	if err != nil {
		return err
	}
	if path != "" {
		fmt.Fprintf(page, "\n## %s\n\n%s\n", path, s.sentence(name, path))
	}
	page.WriteString("\n| key | type | meaning |\n|---|---|---|\n")
	var above field // The latest with a comment, which may be about several.
	for _, f := range fields {
		key := "`" + f.key + "`"
		if f.secret {
			key = "`" + f.key + "_file`, `" + f.key + "_env`"
		}
		child := join(path, f.key)
		meaning := s.meaning(f, child)
		if meaning == "" && strings.Contains(above.doc, "`"+f.key+"`") {
			meaning = "See `" + above.key + "`."
		} else {
			above = f
		}
		if meaning == "" {
			return fmt.Errorf("%s of %s needs a comment", f.key, name)
		}
		fmt.Fprintf(page, "| %s | %s | %s |\n", key, s.typeWord(f.kind, child), meaning)
	}
	return s.sectionsBelow(page, path, fields, seen)
}

// sectionsBelow writes a section for each struct among the fields that has none yet.
func (s *source) sectionsBelow(page *strings.Builder, path string, fields []field, seen map[string]bool) error {
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

// sentence is the comment of a type, with its path in place of its name.
func (s *source) sentence(name, path string) string {
	pkg, short, _ := strings.Cut(name, ".")
	subject := "`" + path + "`"
	if list, ok := strings.CutSuffix(path, "[]"); ok {
		subject = "Each of `" + list + "`"
	}
	keys := map[string]string{}
	for _, f := range s.rawFields(name) {
		keys[f.name] = f.key
	}
	delete(keys, short) // Here it is the type itself.
	doc := s.docs[name]
	rest, ok := strings.CutPrefix(doc, short+" ")
	if !ok {
		return s.prose(pkg, doc, keys)
	}
	return subject + " " + lowerFirst(s.prose(pkg, rest, keys))
}

func lowerFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToLower(text[:1]) + text[1:]
}

// meaning is what the table says of a key: its own comment, else the first sentence about its type.
func (s *source) meaning(f field, path string) string {
	doc := f.doc
	if doc == "" && f.kind.name == "struct" {
		doc, _, _ = strings.Cut(s.sentence(f.kind.strct, path), ". ")
		doc = strings.TrimSuffix(doc, ".") + "."
	}
	if f.secret {
		doc = strings.ReplaceAll(doc, "Zero means: ", "Without it: ")
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
