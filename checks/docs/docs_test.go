package docs_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"rekey/checks/repo"
)

// documents are all pages, named from the root.
func documents(t *testing.T) []string {
	t.Helper()
	root := repo.Path(t, ".")
	var names []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "deploy/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
	}
	if len(names) < 7 {
		t.Fatalf("only %v", names)
	}
	return names
}

var (
	fence   = regexp.MustCompile("(?s)\n[ ]*```([^\n]*)\n(.*?)\n[ ]*```")
	code    = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

// anchors are the names that GitHub gives to the headings of a page.
func anchors(page string) map[string]bool {
	names := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, match[1])
		names[name] = true
	}
	return names
}

func TestLinksLeadSomewhere(t *testing.T) {
	checked := 0
	for _, name := range documents(t) {
		page := string(repo.Read(t, name))
		prose := code.ReplaceAllString(fence.ReplaceAllString(page, ""), "")
		for _, match := range link.FindAllStringSubmatch(prose, -1) {
			target, anchor, hasAnchor := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue // There is no network where this is checked.
			}
			checked++
			to := page
			if target != "" {
				path := repo.Path(t, filepath.Join(filepath.Dir(name), target))
				if _, err := os.Stat(path); err != nil {
					t.Errorf("%s: %s leads nowhere", name, match[1])
					continue
				}
				if hasAnchor {
					content, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					to = string(content)
				}
			}
			if hasAnchor && !anchors(to)[anchor] {
				t.Errorf("%s: %s has no such heading", name, match[1])
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d links", checked)
	}
}

// TestTablesAreWhole: a row of a table without a heading above it is shown as plain text, as behind an empty line.
func TestTablesAreWhole(t *testing.T) {
	rows := regexp.MustCompile(`(?m)^\|.*\|$(?:\n\|.*\|$)*`)
	headed := regexp.MustCompile(`^.*\n\|[-:| ]+\|(?:\n|$)`)
	checked := 0
	for _, name := range documents(t) {
		for _, table := range rows.FindAllString(fence.ReplaceAllString(string(repo.Read(t, name)), ""), -1) {
			checked++
			if !headed.MatchString(table) {
				t.Errorf("%s: a table without a heading: %.80s", name, table)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d tables", checked)
	}
}

// A block that begins with "sh run" is run, in a copy of the repository, with the worker on the path. The blocks of a
// page are one script, so that one may go on where the other ended.
func TestRunnableBlocks(t *testing.T) {
	binary := repo.Worker(t)
	ran := 0
	for _, name := range documents(t) {
		var script strings.Builder
		for _, match := range fence.FindAllStringSubmatch(string(repo.Read(t, name)), -1) {
			if match[1] == "sh run" {
				ran++
				script.WriteString(match[2] + "\n")
			}
		}
		if script.Len() == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) { runScript(t, script.String(), binary) })
	}
	if ran < 4 {
		t.Errorf("only %d blocks", ran)
	}
}

// ownPort is a port that a page names for its own scripts, and no default of the worker.
var ownPort = regexp.MustCompile(`127\.0\.0\.1:\d{5}\b`)

// onFreePorts puts free ports in the place of a script's own, which another run may be using.
func onFreePorts(t *testing.T, script string) string {
	t.Helper()
	free := map[string]string{}
	var chosen []net.Listener
	defer func() { // When all are chosen, so that no two are the same.
		for _, l := range chosen {
			_ = l.Close() // The port is free after it.
		}
	}()
	return ownPort.ReplaceAllStringFunc(script, func(address string) string {
		if free[address] == "" {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			chosen = append(chosen, l)
			free[address] = l.Addr().String()
		}
		return free[address]
	})
}

func runScript(t *testing.T, script, binary string) {
	t.Helper()
	script = onFreePorts(t, script)
	place := t.TempDir()
	copyTree(t, place)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = place
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), // As the worker was built already.
		"GOFLAGS=-buildvcs=false -trimpath", "CGO_ENABLED=0")
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	// What a script leaves in the background ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Run()
	if killErr := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); killErr != nil && !errors.Is(killErr, syscall.ESRCH) {
		t.Error(killErr)
	}
	output, readErr := os.ReadFile(log.Name())
	if err != nil || readErr != nil {
		t.Errorf("%v, %v\n%s\nof\n%s", err, readErr, output, script)
	}
}

// copyTree copies what belongs to the worker's module.
func copyTree(t *testing.T, to string) {
	t.Helper()
	for _, name := range []string{"cmd", "internal", "configs"} {
		if err := os.CopyFS(filepath.Join(to, name), os.DirFS(repo.Path(t, name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := os.WriteFile(filepath.Join(to, name), repo.Read(t, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
