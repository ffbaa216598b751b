package main

import (
	"fmt"
	"slices"
	"strings"
)

// declaredCheck is a read that proves that the target of a kind is dead.
type declaredCheck struct {
	Name, As, Read, Proves, Role string
	Set                          endpointSet
}

// declaredLog is an event log that has what a kind does, with the role that reading it takes.
type declaredLog struct {
	Set  endpointSet
	Role string
}

// declaredProof is how a kind is proven beyond its reads.
type declaredProof struct {
	Events                          []string
	Named                           bool
	Takes, Watch, Cannot, Restorers string
}

// reads are the endpoint sets that the checks of a kind draw on.
func (k declared) reads() []endpointSet {
	var list []endpointSet
	for _, c := range k.Checks {
		list = append(list, c.Set)
	}
	for _, l := range k.Logs {
		list = append(list, l.Set)
	}
	return list
}

// proven reports whether a kind has a call of its own, that can be proven.
func (k declared) proven() bool { return !k.Becomes }

// proofRows say of each kind when its target counts as dead.
func proofRows(kinds []declared) []string {
	var rows []string
	for _, k := range kinds {
		if !k.proven() {
			continue
		}
		var seen []string
		for _, c := range k.Checks {
			text := "`" + c.Name + "`: " + c.Proves
			if !slices.Contains(seen, text) {
				seen = append(seen, text)
			}
		}
		if len(seen) == 0 {
			seen = []string{"no read shows it"}
		}
		event := "`" + strings.Join(k.Proof.Events, "`, `") + "`"
		if k.Proof.Named {
			event += ", which names the target"
		}
		watch := k.Proof.Watch
		if watch == "" {
			watch = "no"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s | %s |", k.Name, strings.Join(seen, "<br>"), k.Proof.Takes, event, watch))
	}
	return rows
}

// checkRows say of each read as whom it is made, and which role that takes.
func checkRows(kinds []declared) []string {
	callers := map[string]string{"": "the account", "token": "the leaked token itself", "client": "the leaked secret itself"}
	var rows []string
	for _, k := range kinds {
		for _, c := range k.Checks {
			rows = append(rows, fmt.Sprintf("| `%s` | `%s` | `%s` | %s | %s | `%s` |", k.Name, c.Name, c.Read, callers[c.As], c.Role, c.Set.Name))
		}
		for _, l := range k.Logs {
			path := "/orgs/{org_id}/events"
			if l.Set.Scope == "project" {
				path = "/groups/{project_id}/events"
			}
			rows = append(rows, fmt.Sprintf("| `%s` | `events` | `GET %s` | the account | %s | `%s` |", k.Name, path, l.Role, l.Set.Name))
		}
	}
	return rows
}

// limitRows say of each kind what stays open, and what undoes the job.
func limitRows(kinds []declared) []string {
	var rows []string
	for _, k := range kinds {
		if k.proven() && k.Proof.Cannot+k.Proof.Restorers != "" {
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |", k.Name, k.Proof.Cannot, k.Proof.Restorers))
		}
	}
	return rows
}
