// The program describe prints the declarations of all kinds as JSON, for the program that writes the documents.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

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
	Checks   []check
	Logs     []log // The event logs that have what it does.
	Proof    proof
	Becomes  bool // It has no call of its own.
}

// param is one name under which a parameter can be given.
type param struct {
	Name     string
	Pattern  string
	Default  string
	Optional bool
}

// check is one read that proves that a target is dead.
type check struct {
	Name, As, Read, Proves, Role string
	Set                          kinds.Set
}

// log is an event log.
type log struct {
	Set  kinds.Set
	Role string
}

// proof is what the documents tell of how a kind is proven.
type proof struct {
	Events            []string
	Named             bool // Events name their target.
	Takes             string
	Watch             string
	Cannot, Restorers string
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
		Name: k.Name, Does: k.Does, Reach: k.Reach, Role: k.Role(), Required: k.Required(), Needs: k.Needs(),
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
	if k.Rotates != nil {
		out.Sets = slices.Clone(k.Rotates.Others)
		for _, h := range k.Rotates.Homes {
			out.Sets = append(out.Sets, h.Set)
		}
	}
	out.Checks, out.Logs, out.Proof = checks(k), logs(k), proof{
		Events: k.Proof.Events, Named: k.Proof.EventTarget != "", Takes: k.Proof.Takes, Cannot: k.Proof.Cannot, Restorers: k.Proof.Restorers,
	}
	if days := k.Proof.Watch / (24 * time.Hour); days > 0 {
		out.Proof.Watch = fmt.Sprintf("%d days", days)
	}
	return out
}

// checks are those of a kind, once for each way to name the target that reads something else.
func checks(k kinds.Kind) []check {
	var list []check
	for _, c := range k.Proof.Checks {
		for _, f := range k.FormsOf("v2") {
			on := c.On(f)
			one := check{Name: c.Name, As: string(c.As), Read: "GET " + strings.TrimPrefix(on.Path, "/api/atlas/v2"), Proves: c.Proves, Role: on.Role.Title, Set: on.Set}
			if c.As == kinds.AsClient {
				one.Read = "POST " + on.Path
			}
			if one.Read == "GET " {
				one.Read = "GET /"
			}
			if !slices.Contains(list, one) {
				list = append(list, one)
			}
		}
	}
	return list
}

// logs are the event logs that have what a kind does.
func logs(k kinds.Kind) []log {
	var list []log
	for set, role := range k.Logs() {
		list = append(list, log{set, role.Title})
	}
	slices.SortFunc(list, func(a, b log) int { return strings.Compare(a.Set.Name, b.Set.Name) })
	return list
}
