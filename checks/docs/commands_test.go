package docs_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"rekey/checks/repo"
)

var (
	// In the prose a command is between backquotes, in a block it begins a line.
	inProse = regexp.MustCompile("`worker ((?:[a-z]+)(?: [a-z]+)?)([^`\n]*)")
	inBlock = regexp.MustCompile(`(?m)^ *(?:bin/)?worker ((?:[a-z]+)(?: [a-z]+)?)([^\n#]*)`)
	inPipe  = regexp.MustCompile(`^(.*\|.*)worker ((?:[a-z]+)(?: [a-z]+)?)(.*)$`)
	flag    = regexp.MustCompile(`(?:^|\s)(--[a-z-]+)`)
)

// commands are those of a page: the words, and what follows them.
func commands(page string) [][]string {
	found := inProse.FindAllStringSubmatch(page, -1)
	for _, block := range fence.FindAllStringSubmatch(page, -1) {
		if strings.HasPrefix(block[1], "sh") {
			found = append(found, inBlock.FindAllStringSubmatch(block[2], -1)...)
		}
	}
	for i, match := range found {
		if pipe := inPipe.FindStringSubmatch(match[2]); pipe != nil { // What comes out of one goes into another.
			found[i][2], found = pipe[1], append(found, pipe[1:])
		}
	}
	return found
}

// A runbook that names a command or a flag which does not exist costs time when there is none.
func TestCommandsAndFlagsExist(t *testing.T) {
	binary := repo.Worker(t)
	helps := map[string]string{}
	help := func(words string) string {
		if _, ok := helps[words]; !ok {
			out, err := exec.CommandContext(t.Context(), binary, append(strings.Fields(words), "--help")...).CombinedOutput()
			if err != nil || strings.Contains(string(out), "unknown command") {
				out = nil
			}
			helps[words] = string(out)
		}
		return helps[words]
	}
	asked := 0
	for _, name := range documents(t) {
		if name == "CHANGELOG.md" {
			continue // It tells of what has gone, too.
		}
		for _, match := range commands(string(repo.Read(t, name))) {
			asked++
			text := help(match[1])
			if noun, _, isPair := strings.Cut(match[1], " "); text == "" && isPair {
				text = help(noun) // What follows is an argument.
			}
			if text == "" || !strings.Contains(text, "worker "+match[1]) && !strings.Contains(text, "worker "+strings.Fields(match[1])[0]) {
				t.Errorf("%s: there is no worker %s", name, match[1])
				continue
			}
			for _, f := range flag.FindAllStringSubmatch(match[2], -1) {
				if !strings.Contains(text, f[1]) {
					t.Errorf("%s: worker %s has no %s", name, match[1], f[1])
				}
			}
		}
	}
	if asked < 20 {
		t.Errorf("only %d commands", asked)
	}
}
