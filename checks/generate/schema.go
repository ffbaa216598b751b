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
func packages() []string { return []string{"config", "jobs", "notify", "policy", "schedule", "secret"} }

// schemas are JSON Schemas of the configuration and of events, for editors and for producers.
func schemas(_ context.Context, root string) (map[string][]byte, error) {
	s, err := readSource(root, packages()...)
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
		"params": object{"type": "object"}, "account": object{"type": "string"}, "reason": free, "requested_by": free,
		"expires_at": object{"type": "string", "format": "date-time"}, "coalesce": object{"type": "boolean"},
	}
	properties := object{}
	for _, name := range members {
		schema, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("what an event's %q may be is not known here", name)
		}
		properties[name] = schema
	}
	kinds, err := s.kindSchemas()
	if err != nil {
		return nil, err
	}
	return object{
		"title": "Request", "type": "object", "additionalProperties": false, "required": []string{"kind", "params"},
		"properties": properties, "allOf": kinds,
	}, nil
}

// kindSchemas say which parameters each kind takes.
func (s *source) kindSchemas() ([]object, error) {
	ids, ok := s.vars["jobs.idParams"].(*ast.CompositeLit)
	if !ok {
		return nil, fmt.Errorf("jobs.idParams is no map that is written out")
	}
	var list []object
	add := func(kind string, params object) {
		list = append(list, object{
			"if":   object{"properties": object{"kind": object{"const": kind}}},
			"then": object{"properties": object{"params": params}},
		})
	}
	for _, element := range ids.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			return nil, fmt.Errorf("jobs.idParams has an element without a key")
		}
		kind, err := s.text("jobs", pair.Key)
		if err != nil {
			return nil, err
		}
		names, err := s.texts("jobs", pair.Value)
		if err != nil {
			return nil, err
		}
		properties := object{}
		for _, name := range names {
			properties[name] = object{"type": "string", "pattern": "^[a-f0-9]{24}$"}
		}
		add(kind, object{"additionalProperties": false, "required": names, "properties": properties})
	}
	tokens, err := s.returned("jobs.tokenParams")
	if err != nil {
		return nil, err
	}
	properties := object{}
	for _, name := range tokens {
		properties[name] = object{"type": "string", "minLength": 1}
	}
	add("token.revoke", object{"additionalProperties": false, "minProperties": 1, "maxProperties": 1, "properties": properties})
	return list, nil
}

// returned are the texts that a function of one statement returns.
func (s *source) returned(name string) ([]string, error) {
	f, ok := s.funcs[name]
	if !ok || len(f.Body.List) != 1 {
		return nil, fmt.Errorf("%s is no function of one statement", name)
	}
	statement, ok := f.Body.List[0].(*ast.ReturnStmt)
	if !ok || len(statement.Results) != 1 {
		return nil, fmt.Errorf("%s does not just return", name)
	}
	return s.texts("jobs", statement.Results[0])
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
