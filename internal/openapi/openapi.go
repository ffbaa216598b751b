// Package openapi describes operations and the types that they exchange as an OpenAPI 3.1 document.
package openapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Version is that of the specification (https://spec.openapis.org/oas/v3.1.1.html).
const Version = "3.1.1"

// Object is a JSON object.
type Object = map[string]any

// Operation is one thing that can be asked.
type Operation struct {
	Method, Path string
	ID           string // Names it in generated clients.
	Summary      string
	Description  string // In Markdown. Empty: none.
	Public       bool   // No client has to be known.
	Params       []Param
	Body         *Content // Nil: none.
	BodyOptional bool
	Answers      map[int]Answer
}

// Param is a parameter of the path, the query or a header.
type Param struct {
	Name, In    string // In is path, query or header.
	Description string
	Schema      Object
}

// Content is what a body holds.
type Content struct {
	Types []string // Media types.
	Value any      // A value of the type that it is; or an Object, which is the schema itself.
}

// Answer is one answer.
type Answer struct {
	Description string
	Content     Content
	Headers     map[string]string // Their descriptions by their names.
}

// Document is an API.
type Document struct {
	Title, Description, Version string
	Operations                  []Operation
	// Default is the answer that every operation may give besides those that it lists.
	Default Answer
	// Security are the schemes by which clients are recognised, by their names; each suffices.
	Security map[string]Object
	Types    *Types
}

// JSON is the document.
func (d *Document) JSON() ([]byte, error) {
	paths := map[string]Object{}
	for _, op := range d.Operations {
		if paths[op.Path] == nil {
			paths[op.Path] = Object{}
		}
		paths[op.Path][strings.ToLower(op.Method)] = d.operation(op)
	}
	var security []Object
	for _, name := range slices.Sorted(maps.Keys(d.Security)) {
		security = append(security, Object{name: []string{}})
	}
	data, err := json.Marshal(Object{
		"openapi": Version, "info": Object{"title": d.Title, "description": d.Description, "version": d.Version},
		"servers": []Object{{"url": "/"}}, "paths": paths, "security": security,
		"components": Object{"schemas": d.Types.schemas, "securitySchemes": d.Security},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the OpenAPI document: %w", err)
	}
	return data, nil
}

func (d *Document) operation(op Operation) Object {
	out := Object{"operationId": op.ID, "summary": op.Summary}
	if op.Description != "" {
		out["description"] = op.Description
	}
	if op.Public {
		out["security"] = []Object{}
	}
	var params []Object
	for _, p := range op.Params {
		params = append(params, Object{"name": p.Name, "in": p.In, "description": p.Description, "required": p.In == "path", "schema": p.Schema})
	}
	if params != nil {
		out["parameters"] = params
	}
	if op.Body != nil {
		out["requestBody"] = Object{"required": !op.BodyOptional, "content": d.content(*op.Body)}
	}
	answers := Object{"default": d.answer(d.Default)}
	for status, a := range op.Answers {
		answers[strconv.Itoa(status)] = d.answer(a)
	}
	out["responses"] = answers
	return out
}

func (d *Document) answer(a Answer) Object {
	out := Object{"description": a.Description, "content": d.content(a.Content)}
	headers := Object{}
	for name, description := range a.Headers {
		headers[name] = Object{"description": description, "schema": Object{"type": "string"}}
	}
	if len(headers) > 0 {
		out["headers"] = headers
	}
	return out
}

func (d *Document) content(c Content) Object {
	schema, ok := c.Value.(Object)
	if !ok {
		schema = d.Types.Of(c.Value)
	}
	out := Object{}
	for _, media := range c.Types {
		out[media] = Object{"schema": schema}
	}
	return out
}
