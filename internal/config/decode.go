package config

import (
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v4"

	"rekey/internal/credential"
	"rekey/internal/lazyregexp"
	"rekey/internal/redact"
	"rekey/internal/secret"
)

// aliasMessage refuses what can make a small file a very large configuration, and makes one
// mistake appear in many places.
const aliasMessage = "aliases (*name) are not supported: write the value out"

var (
	durationType   = reflect.TypeFor[time.Duration]()
	rateLimitsType = reflect.TypeFor[map[string]RateLimit]()
	refType        = reflect.TypeFor[secret.Ref]()
	momentType     = reflect.TypeFor[Moment]()
)

// decoder moves the nodes of a YAML document into a Config that holds the defaults. The
// module's own decoder is not used, because its errors quote values, carry no path, and
// follow each other.
type decoder struct{ *report }

// value decodes a node. A null leaves the default.
func (d *decoder) value(path string, node *yaml.Node, out reflect.Value) {
	switch {
	case node.Kind == yaml.AliasNode:
		d.add(path, aliasMessage)
	case isNull(node):
	case out.Type() == durationType:
		d.duration(path, node, out)
	case out.Type() == policiesType:
		d.policies(path, node, out)
	case out.Kind() == reflect.Struct:
		d.mapping(path, node, out)
	case out.Kind() == reflect.Slice:
		d.list(path, node, out)
	case out.Kind() == reflect.Map:
		d.texts(path, node, out)
	case out.Kind() == reflect.Int:
		d.number(path, node, out)
	case out.Kind() == reflect.Bool:
		d.boolean(path, node, out)
	default:
		d.text(path, node, out)
	}
}

func (d *decoder) mapping(path string, node *yaml.Node, out reflect.Value) {
	fields := fieldsOf(out.Type())
	d.pairs(path, node, func(key string, value *yaml.Node) {
		for _, field := range fields {
			if field.key == key {
				d.field(path, field, value, out.Field(field.index))
				return
			}
		}
		d.unknownKey(path, key, fields)
	})
}

// field decodes the value of a known key. Of a secret.Ref, each key sets one half.
func (d *decoder) field(path string, f field, node *yaml.Node, out reflect.Value) {
	// A misspelt key before this one may have been taken for it.
	delete(d.spoilt, join(path, f.key))
	switch f.part {
	case partNone:
		d.value(join(path, f.key), node, out)
		return
	case partFile:
		d.value(join(path, f.key), node, out.FieldByName("File"))
	case partEnv:
		d.value(join(path, f.key), node, out.FieldByName("Env"))
	case partInline:
		d.inlineSecret(path, f.key)
		return
	case partMember:
		var member RateLimit
		d.value(join(path, f.key), node, reflect.ValueOf(&member).Elem())
		if out.IsNil() {
			out.Set(reflect.MakeMap(out.Type()))
		}
		out.SetMapIndex(reflect.ValueOf(f.key), reflect.ValueOf(member))
		return
	}
	if !out.FieldByName("File").IsZero() && !out.FieldByName("Env").IsZero() {
		base := strings.TrimSuffix(strings.TrimSuffix(f.key, string(partFile)), string(partEnv))
		d.add(join(path, f.key), "%s%s and %s%s are both set: keep one of them", base, partFile, base, partEnv)
	}
}

// inlineSecret refuses a secret that is in the file itself.
func (d *decoder) inlineSecret(path, key string) {
	d.add(join(path, key), "secrets are never written here: name a file with %s%s or an environment variable with %s%s",
		key, partFile, key, partEnv)
	d.spoil(join(path, key+string(partFile)), join(path, key+string(partEnv)))
}

// pairs calls yield for every key of a mapping, once, and remembers its place.
func (d *decoder) pairs(path string, node *yaml.Node, yield func(key string, value *yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		d.add(path, "must be a mapping (key: value), not %s", describe(node))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		at := place{line: key.Line, column: key.Column}
		keyPath := join(path, showKey(key.Value))
		switch first, twice := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.addAt(at, path, "a key must be a plain word")
		case key.Tag == "!!merge":
			d.addAt(at, path, "merge keys (<<) are not supported: write the keys out")
		case twice:
			d.addAt(at, keyPath, "is set twice, first on line %d", first)
		default:
			seen[key.Value] = key.Line
			d.places[keyPath] = at
			yield(key.Value, node.Content[i+1])
		}
	}
}

func (d *decoder) list(path string, node *yaml.Node, out reflect.Value) {
	if node.Kind != yaml.SequenceNode {
		d.add(path, "must be a list, not %s", describe(node))
		return
	}
	out.SetZero() // It replaces the default list.
	for i, child := range node.Content {
		element := reflect.New(out.Type().Elem())
		if defaulter, ok := reflect.TypeAssert[interface{ setDefaults() }](element); ok {
			defaulter.setDefaults()
		}
		d.places[item(path, i)] = place{line: child.Line, column: child.Column}
		if isNull(child) {
			d.add(item(path, i), "is empty")
		}
		d.value(item(path, i), child, element.Elem())
		out.Set(reflect.Append(out, element.Elem()))
	}
}

// texts decodes a mapping of texts with free keys.
func (d *decoder) texts(path string, node *yaml.Node, out reflect.Value) {
	texts := reflect.MakeMap(out.Type())
	d.pairs(path, node, func(key string, value *yaml.Node) {
		text := reflect.New(out.Type().Elem()).Elem()
		keyPath := join(path, showKey(key))
		if isNull(value) {
			d.add(keyPath, "must be a string, not %s", describe(value))
		}
		d.value(keyPath, value, text)
		texts.SetMapIndex(reflect.ValueOf(key), text)
	})
	out.Set(texts)
}

func (d *decoder) number(path string, node *yaml.Node, out reflect.Value) {
	// Other bases are not accepted: 010 is ten to some and eight to others.
	value, err := strconv.Atoi(node.Value)
	switch {
	case node.Kind != yaml.ScalarNode || node.ShortTag() != "!!int":
		d.add(path, "must be a whole number, not %s", describe(node))
	case err != nil || strconv.Itoa(value) != node.Value:
		d.add(path, "must be a whole number in plain decimal digits")
	default:
		out.SetInt(int64(value))
	}
}

func (d *decoder) duration(path string, node *yaml.Node, out reflect.Value) {
	isText := node.Kind == yaml.ScalarNode && node.ShortTag() == "!!str"
	value, err := time.ParseDuration(node.Value)
	switch {
	case isText && err == nil, isZero(node):
		out.SetInt(int64(value))
	case isText && strings.HasSuffix(node.Value, "d"):
		d.add(path, "is not a duration: the units are h, m, s and ms; a day is 24h")
	case isText || node.ShortTag() == "!!int" || node.ShortTag() == "!!float":
		d.add(path, "is not a duration: write a number with its unit, such as 30s, 5m or 1h30m")
	default:
		d.add(path, "must be a duration such as 30s, not %s", describe(node))
	}
}

func (d *decoder) text(path string, node *yaml.Node, out reflect.Value) {
	switch {
	case node.Kind != yaml.ScalarNode:
		d.add(path, "must be a string, not %s", describe(node))
	case node.ShortTag() != "!!str" && (node.ShortTag() != "!!timestamp" || out.Type() != momentType):
		d.add(path, "must be a string, not %s: put it in quotes", describe(node))
	case out.Type() == exprType: // May have several lines.
		out.SetString(node.Value)
	case out.Type() == templateType: // The same.
		d.templateText(path, node)
		out.SetString(node.Value)
	case strings.HasSuffix(path, ".cron"): // Tabs and line ends part its fields as blanks do.
		out.SetString(strings.Join(strings.Fields(node.Value), " "))
	case strings.ContainsFunc(node.Value, unicode.IsControl):
		d.add(path, "must be one line without control characters")
	default:
		d.secretPlace(path, node.Value)
		out.SetString(node.Value)
	}
}

// envName is what POSIX calls the name of an environment variable.
var envName = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// secretPlace checks a text that should say where a secret is kept. Later errors will show it, so
// it must not be the secret itself.
func (d *decoder) secretPlace(path, value string) {
	isEnv := strings.HasSuffix(path, string(partEnv))
	switch isFile := strings.HasSuffix(path, string(partFile)); {
	case value == "" || !isEnv && !isFile:
	case isFile && looksSecret(value):
		d.add(path, "looks like the secret itself: it must be the path of a file that holds it")
	case isEnv && looksSecret(value):
		d.add(path, "looks like the secret itself: it must be the name of an environment variable that holds it")
	case isEnv && !envName.MatchString(value):
		d.add(path, "must be the name of an environment variable: letters, digits and _")
	}
}

// looksSecret reports whether a text is, or holds, a secret or the address of a webhook, and no name or path.
func looksSecret(text string) bool {
	switch credential.Identify(text).Kind { //nolint:exhaustive // The rest is no secret, or may be the name of one.
	case credential.ServiceAccountSecret, credential.APIKey, credential.APIPrivateKey, credential.JWT, credential.PEM,
		credential.Header, credential.ConnectionString, credential.URL, credential.Encoded:
		return true
	case credential.Fragment:
		return strings.HasPrefix(text, "eyJ")
	}
	return strings.HasPrefix(text, "whsec_") || redact.Certain(text)
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" }

// isZero recognises a plain 0, the one duration that needs no unit.
func isZero(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!int" && node.Value == "0"
}

// describe names the type of a node.
func describe(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.MappingNode:
		return "a mapping"
	case node.Kind == yaml.SequenceNode:
		return "a list"
	}
	switch node.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "a boolean"
	case "!!int":
		return "a number"
	case "!!float":
		return "a number with a fraction"
	case "!!timestamp":
		return "a date"
	case "!!str":
		return "a string"
	}
	return "a value with such a tag"
}
