package openapi

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

// Types are the schemas of Go types, as encoding/json writes them.
type Types struct {
	enums   map[reflect.Type][]string
	names   map[reflect.Type]string
	schemas Object
}

// NewTypes returns the schemas of no type yet. Texts of a type among enums are one of its members; a struct is called by its name in
// Go, or as names says.
func NewTypes(enums map[reflect.Type][]string, names map[reflect.Type]string) *Types {
	return &Types{enums: enums, names: names, schemas: Object{}}
}

// Add is a schema of its own, to which others refer by its name.
func (t *Types) Add(name string, schema Object) Object {
	t.schemas[name] = schema
	return ref(name)
}

// Of is the schema of a value's type.
func (t *Types) Of(value any) Object { return t.of(reflect.TypeOf(value)) }

// Strict is the schema of a struct that has no other members, some of which have another schema than their type says.
func (t *Types) Strict(value any, instead map[string]Object) Object {
	typ := reflect.TypeOf(value)
	properties := Object{}
	var required []string
	t.fields(typ, properties, &required)
	for name, schema := range instead {
		properties[name] = schema
	}
	schema := Object{"type": "object", "properties": properties, "additionalProperties": false}
	if required != nil {
		schema["required"] = required
	}
	return t.Add(typ.Name(), schema)
}

func ref(name string) Object { return Object{"$ref": "#/components/schemas/" + name} }

func (t *Types) of(typ reflect.Type) Object {
	if members, ok := t.enums[typ]; ok {
		return Object{"type": "string", "enum": members}
	}
	if typ == reflect.TypeFor[time.Time]() {
		return Object{"type": "string", "format": "date-time"}
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return t.of(typ.Elem())
	case reflect.String:
		return Object{"type": "string"}
	case reflect.Bool:
		return Object{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return Object{"type": "integer"}
	case reflect.Uint, reflect.Uint32, reflect.Uint64:
		return Object{"type": "integer", "minimum": 0}
	case reflect.Float64:
		return Object{"type": "number"}
	case reflect.Slice:
		return Object{"type": "array", "items": t.of(typ.Elem())}
	case reflect.Map:
		return Object{"type": "object", "additionalProperties": t.of(typ.Elem())}
	case reflect.Struct:
		return t.structure(typ)
	}
	return Object{}
}

// structure is a schema of its own, for types hold each other.
func (t *Types) structure(typ reflect.Type) Object {
	name, ok := t.names[typ]
	if !ok {
		name = typ.Name()
	}
	if _, known := t.schemas[name]; known {
		return ref(name)
	}
	schema := Object{"type": "object"}
	t.schemas[name] = schema
	properties := Object{}
	var required []string
	t.fields(typ, properties, &required)
	slices.Sort(required)
	schema["properties"] = properties
	if required != nil {
		schema["required"] = required
	}
	return ref(name)
}

// fields adds those of a struct, and of the structs that are embedded in it.
func (t *Types) fields(typ reflect.Type, properties Object, required *[]string) {
	for field := range typ.Fields() {
		tag := field.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case field.Anonymous && tag == "":
			t.fields(field.Type, properties, required)
			continue
		case !field.IsExported() || name == "-" || name == "":
			continue
		}
		property := t.of(field.Type)
		if doc := field.Tag.Get("doc"); doc != "" {
			property["description"] = doc
		}
		properties[name] = property
		if !strings.Contains(options, "omit") {
			*required = append(*required, name)
		}
	}
}
