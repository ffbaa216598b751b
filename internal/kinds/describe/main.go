// The program describe prints the declarations of all kinds as JSON, for the program that writes the documents.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"rekey/internal/kinds"
)

// kind is what the documents tell of a kind.
type kind struct {
	Name     kinds.Name
	Does     string
	Reach    string
	Role     string
	Params   []param
	Required []string
	Needs    []kinds.Choice
	Sets     []kinds.Set
	Becomes  bool // It has no call of its own.
	Accepted bool // A success proves no more than that the API took the request.
}

// param is one name under which a parameter can be given.
type param struct {
	Name     string
	Pattern  string
	Default  string
	Optional bool
}

func main() {
	var list []kind
	for _, k := range kinds.All() {
		list = append(list, describe(k))
	}
	if err := json.NewEncoder(os.Stdout).Encode(list); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func describe(k kinds.Kind) kind {
	out := kind{
		Name: k.Name, Does: k.Does, Reach: k.Reach, Role: k.Role(), Required: k.Required(), Needs: k.Needs(), Accepted: k.Call.OnlyAccepted,
		Becomes: k.Becomes != nil,
	}
	for _, p := range k.Params {
		for _, name := range p.Names() {
			one := param{Name: name, Default: p.Default, Optional: p.Optional}
			if !p.Secret {
				one.Pattern = p.Shape.Pattern
			}
			out.Params = append(out.Params, one)
		}
	}
	for _, f := range k.FormsOf("") {
		if f.Set.Name != "" {
			out.Sets = append(out.Sets, f.Set)
		}
	}
	return out
}
