package main

import (
	"context"
	"fmt"
	"go/ast"
	"slices"
)

const (
	configSchemaFile = "docs/schema/config.schema.json"
	eventSchemaFile  = "docs/schema/event.schema.json"
	draft            = "https://json-schema.org/draft/2020-12/schema"
	durationPattern  = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
)

// packages are those whose types a configuration or an event is made of.
func packages() []string {
	return []string{"config", "deliver", "door", "jobs", "notify", "policy", "schedule", "secret"}
}

// schemas are JSON Schemas of the configuration and of events, for editors and for producers.
func schemas(ctx context.Context, root string) (map[string][]byte, error) {
	s, err := readSource(ctx, root, packages()...)
	if err != nil {
		return nil, err
	}
	config, err := s.structSchema("config.Config")
	if err != nil {
		return nil, err
	}
	config["$schema"], config["title"] = draft, "Configuration of a Rekey worker"
	event, err := s.eventSchema()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for name, schema := range map[string]object{configSchemaFile: config, eventSchemaFile: event} {
		if files[name], err = encodeJSON(schema); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (s *source) structSchema(name string) (object, error) {
	fields, err := s.fields(name)
	if err != nil {
		return nil, err
	}
	properties := object{}
	var pairs []object
	for _, f := range fields {
		schema, err := s.schemaOf(f.kind)
		if err != nil {
			return nil, err
		}
		if f.doc != "" {
			schema["description"] = f.doc
		}
		if !f.secret {
			properties[f.key] = schema
			continue
		}
		file, env := f.key+"_file", f.key+"_env"
		properties[file] = object{"type": "string", "description": "Path of a file with the secret. " + f.doc}
		properties[env] = object{"type": "string", "description": "Name of an environment variable with the secret. " + f.doc}
		pairs = append(pairs, object{"not": object{"required": []string{file, env}}})
	}
	o := object{"type": "object", "additionalProperties": false, "properties": properties}
	if len(pairs) > 0 {
		o["allOf"] = pairs
	}
	return o, nil
}

func (s *source) schemaOf(kind typeOf) (object, error) {
	switch kind.name {
	case "duration":
		return object{"anyOf": []object{{"type": "string", "pattern": durationPattern}, {"const": 0}}}, nil
	case "time":
		return object{"type": "string", "format": "date-time"}, nil
	case "list", "map":
		of, err := s.schemaOf(*kind.of)
		if err != nil {
			return nil, err
		}
		if kind.name == "list" {
			return object{"type": "array", "items": of}, nil
		}
		return object{"type": "object", "additionalProperties": of}, nil
	case "struct":
		schema, err := s.structSchema(kind.strct)
		if err == nil && kind.strct == "config.Policies" { // A list is its short form.
			properties, ok := schema["properties"].(object)
			if !ok {
				return nil, fmt.Errorf("%s has no properties", kind.strct)
			}
			return object{"anyOf": []any{properties["list"], schema}}, nil
		}
		return schema, err
	}
	schema := object{"type": kind.name}
	if len(kind.values) > 0 {
		// Empty is the default, wherever a set of values is closed.
		schema["enum"] = append(slices.Clone(kind.values), "")
	}
	return schema, nil
}

// eventSchema tells what an event may be: a request, or a CloudEvent with one in it. Events of another kind are a
// policy's business.
func (s *source) eventSchema() (object, error) {
	request, err := s.requestSchema()
	if err != nil {
		return nil, err
	}
	text := object{"type": "string", "minLength": 1}
	return object{
		"$schema": draft, "title": "Event that asks Rekey for a job",
		"description": "Published on rekey.v1.event.<class>. Events of other types are understood with policies.",
		"$defs":       object{"request": request},
		"oneOf": []object{
			{"$ref": "#/$defs/request"},
			{
				"title": "CloudEvent 1.0", "type": "object", "required": []string{"specversion", "id", "source", "type", "data"},
				"properties": object{
					"specversion": object{"const": "1.0"}, "id": text, "source": text, "type": object{"const": "rekey.job.requested.v1"},
					"time":            object{"type": "string", "format": "date-time"},
					"datacontenttype": object{"type": "string"}, "subject": text, "data": object{"$ref": "#/$defs/request"},
				},
			},
		},
	}, nil
}

func (s *source) requestSchema() (object, error) {
	members, err := s.texts("jobs", s.vars["jobs.requestFields"])
	if err != nil {
		return nil, err
	}
	free := object{"type": "string", "maxLength": 1024}
	known := object{
		"kind": object{"enum": s.typed["jobs.Kind"]}, "lane": object{"enum": s.typed["jobs.Lane"]},
		"params": object{"type": "object"}, "account": object{"type": "string"}, "reason": free, "requested_by": free, "on_behalf_of": free,
		"expires_at": object{"type": "string", "format": "date-time"}, "coalesce": object{"type": "boolean"}, "dry_run": object{"type": "boolean"}, "proof": object{"type": "boolean"},
	}
	properties := object{}
	for _, name := range members {
		schema, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("what an event's %q may be is not known here", name)
		}
		properties[name] = schema
	}
	return object{
		"title": "Request", "type": "object", "additionalProperties": false, "required": []string{"kind", "params"},
		"properties": properties, "allOf": kindSchemas(s.kinds),
	}, nil
}

// kindSchemas say which parameters each kind takes.
func kindSchemas(kinds []declared) []object {
	var list []object
	for _, k := range kinds {
		list = append(list, object{
			"if":   object{"properties": object{"kind": object{"const": k.Name}}},
			"then": object{"properties": object{"params": k.schema()}},
		})
	}
	return list
}

// schema says which parameters the kind takes.
func (k declared) schema() object {
	properties := object{}
	for _, p := range k.Params {
		properties[p.Name] = object{"type": "string", "minLength": 1}
		if p.Pattern != "" {
			properties[p.Name] = object{"type": "string", "pattern": p.Pattern}
		}
	}
	schema := object{"additionalProperties": false, "properties": properties}
	if len(k.Required) > 0 {
		schema["required"] = k.Required
	}
	var choices []object
	for _, choice := range k.Needs {
		var alternatives []object
		for _, names := range choice {
			alternatives = append(alternatives, object{"required": names})
		}
		choices = append(choices, object{"oneOf": alternatives})
	}
	if len(choices) > 0 {
		schema["allOf"] = choices
	}
	return schema
}

// texts are the elements of a list of texts that is written out.
func (s *source) texts(pkg string, expr ast.Expr) ([]string, error) {
	list, ok := expr.(*ast.CompositeLit)
	if !ok {
		return nil, fmt.Errorf("a list of package %s is not written out", pkg)
	}
	var texts []string
	for _, element := range list.Elts {
		text, err := s.text(pkg, element)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}
