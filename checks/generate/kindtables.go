package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// declared is a kind of job as the program internal/kinds/describe prints it.
type declared struct {
	Name, Does, Reach, Role string
	Params                  []struct {
		Name, Pattern, Default string
		Optional               bool
	}
	Required []string
	Needs    [][][]string
	Sets     []endpointSet
	Checks   []declaredCheck
	Logs     []declaredLog
	Proof    declaredProof
	Becomes  bool
}

// endpointSet is an endpoint set and what the vendor publishes of its buckets.
type endpointSet struct {
	Name, Scope string
	Seen        int
	Limit       struct {
		Capacity, Refill int
		Every            time.Duration
	}
}

// declarations are the declarations of all kinds.
func declarations(ctx context.Context, root string) ([]declared, error) {
	command := exec.CommandContext(ctx, "go", "run", "./internal/kinds/describe")
	command.Dir, command.Stderr = root, os.Stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("describing the kinds: %w", err)
	}
	var list []declared
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("reading the kinds: %w", err)
	}
	return list, nil
}

// table is a table of a page: what its first line begins with, and its rows.
type table struct {
	page, head string
	rows       []string
	others     []string // First cells of rows that tell of no kind, and stay as they are.
}

// firstCell is the first cell of a row, without its backquotes.
func firstCell(row string) string {
	cell, _, _ := strings.Cut(strings.Trim(row, "| `"), "|")
	return strings.Trim(cell, " `")
}

// kindTables are the pages whose tables tell of kinds, with those tables written anew.
func kindTables(ctx context.Context, root string) (map[string][]byte, error) {
	kinds, err := declarations(ctx, root)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, t := range []table{
		{"README.md", "| kind | parameters |", kindRows(kinds), nil},
		{"docs/pacing.md", "| endpoint set | calls |", setRows(kinds), []string{"oauth_token", "rate_limits"}},
		{"docs/proof.md", "| kind | what must be seen |", proofRows(kinds), nil},
		{"docs/proof.md", "| kind | check |", checkRows(kinds), nil},
		{"docs/proof.md", "| kind | what no read shows |", limitRows(kinds), nil},
	} {
		page, written := files[t.page]
		if !written {
			if page, err = os.ReadFile(filepath.Join(root, t.page)); err != nil {
				return nil, err
			}
		}
		lines := strings.Split(string(page), "\n")
		at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, t.head) })
		if at < 0 {
			return nil, fmt.Errorf("%s has no table that begins with %s", t.page, t.head)
		}
		begin := at + 2 // Behind the head and the line below it.
		end := begin
		for end < len(lines) && strings.HasPrefix(lines[end], "|") {
			end++
		}
		kept := slices.DeleteFunc(slices.Clone(lines[begin:end]), func(line string) bool { return !slices.Contains(t.others, firstCell(line)) })
		files[t.page] = []byte(strings.Join(slices.Concat(lines[:begin], t.rows, kept, lines[end:]), "\n"))
	}
	return files, nil
}

// kindRows say of each kind what it takes, does and needs.
func kindRows(kinds []declared) []string {
	var rows []string
	for _, k := range kinds {
		does := k.Does
		if k.Reach != "" {
			does += "; " + k.Reach
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |", k.Name, k.takes(), does, k.Role))
	}
	return rows
}

// takes lists the parameters of a kind.
func (k declared) takes() string {
	var parts []string
	for _, name := range k.Required {
		parts = append(parts, "`"+name+"`")
	}
	for _, choice := range k.Needs {
		var list []string
		for _, names := range choice {
			list = append(list, "`"+strings.Join(names, "` with `")+"`")
		}
		parts = append(parts, "one of "+strings.Join(list, ", "))
	}
	for _, p := range k.Params {
		if p.Optional {
			parts = append(parts, "`"+p.Name+"` (optional)")
		} else if p.Default != "" {
			parts = append(parts, "`"+p.Name+"` (default `"+p.Default+"`)")
		}
	}
	return strings.Join(parts, ", ")
}

// setRows say of each endpoint set which calls it has, whose its buckets are, and what is known of them.
func setRows(kinds []declared) []string {
	var rows []string
	for _, set := range endpointSets(kinds) {
		rows = append(rows, set.row(strings.Join(callsOf(set, kinds), ", ")))
	}
	return rows
}

// endpointSets are those of all kinds, each once.
func endpointSets(kinds []declared) []endpointSet {
	var list []endpointSet
	add := func(set endpointSet) {
		if set.Name != "oauth_token" && !slices.Contains(list, set) {
			list = append(list, set)
		}
	}
	for _, k := range kinds {
		for _, set := range k.Sets {
			add(set)
		}
	}
	for _, k := range kinds {
		for _, set := range k.reads() {
			add(set)
		}
	}
	return list
}

// callsOf are the kinds whose calls draw on an endpoint set, or, without any, those whose checks do.
func callsOf(set endpointSet, kinds []declared) []string {
	var calls, checks []string
	for _, k := range kinds {
		if slices.Contains(k.Sets, set) {
			calls = append(calls, "`"+k.Name+"`")
		}
		if slices.Contains(k.reads(), set) {
			checks = append(checks, "`"+k.Name+"`")
		}
	}
	if len(calls) == 0 && len(checks) > 0 {
		checks[0] = "the checks of " + checks[0]
		return checks
	}
	return calls
}

func (s endpointSet) row(calls string) string {
	limit := ""
	if s.Limit.Every > 0 {
		limit = fmt.Sprintf("%d, then %d a minute ", s.Limit.Capacity, s.Limit.Refill*int(time.Minute/s.Limit.Every))
	}
	seen := ""
	if s.Seen > 0 {
		seen = fmt.Sprintf("%d ", s.Seen)
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s| %s|", s.Name, calls, s.Scope, limit, seen)
}
