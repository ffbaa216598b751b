package main

import (
	"os/exec"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/checks/repo"
)

// varies is what differs from run to run, and what follows from it.
var varies = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\b[0-9a-z]{26}\b`), "ID"},
	{regexp.MustCompile(`sha256:[0-9a-f]{12}`), "sha256:FINGERPRINT"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`), "TIME"},
	{regexp.MustCompile(`\b[0-9]+(?:\.[0-9]+)?(?:ms|s)\b`), "DURATION"},
	{regexp.MustCompile(`\b[0-9]+ +(<[^>]*>rotated)`), "PASSES $1"}, // A rotation looks until its users have moved.
	{regexp.MustCompile(`\bgot [0-9]+ tokens`), "got TOKENS"},
	{regexp.MustCompile(` textLength="[0-9.]+"`), ""},
	{regexp.MustCompile(` +`), " "},
}

func alike(picture []byte) string {
	for _, v := range varies {
		picture = v.pattern.ReplaceAll(picture, []byte(v.instead))
	}
	return string(picture)
}

// The picture of the first page shows what the demo prints today.
func TestDemoPicture(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), repo.Worker(t), "demo").Output()
	if err != nil {
		t.Fatalf("running the demo: %v\n%s", err, out)
	}
	for _, theme := range themes() {
		want, got := alike(terminal(string(out), theme)), alike(repo.Read(t, demoPicture(theme)))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s is not what the demo prints (-prints +picture); run: go -C checks run ./picture demo\n%s", demoPicture(theme), diff)
		}
	}
}
