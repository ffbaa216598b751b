package lazyregexp_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rekey/internal/lazyregexp"
)

// TestMethods: each method answers as that of regexp.Regexp.
func TestMethods(t *testing.T) {
	t.Parallel()
	const expression, text = `k(\d)`, "k1 k2 x"
	eager, lazy := regexp.MustCompile(expression), lazyregexp.New(expression)
	mark := func(found []byte) []byte { return append(found, '!') }
	for name, answers := range map[string][2]any{
		"String":             {eager.String(), lazy.String()},
		"MatchString":        {eager.MatchString(text), lazy.MatchString(text)},
		"FindString":         {eager.FindString(text), lazy.FindString(text)},
		"FindStringSubmatch": {eager.FindStringSubmatch(text), lazy.FindStringSubmatch(text)},
		"FindSubmatch":       {eager.FindSubmatch([]byte(text)), lazy.FindSubmatch([]byte(text))},
		"FindAllString":      {eager.FindAllString(text, 1), lazy.FindAllString(text, 1)},
		"FindAllStringIndex": {eager.FindAllStringIndex(text, -1), lazy.FindAllStringIndex(text, -1)},
		"ReplaceAll":         {eager.ReplaceAll([]byte(text), []byte("<$1>")), lazy.ReplaceAll([]byte(text), []byte("<$1>"))},
		"ReplaceAllFunc":     {eager.ReplaceAllFunc([]byte(text), mark), lazy.ReplaceAllFunc([]byte(text), mark)},
		"ReplaceAllString":   {eager.ReplaceAllString(text, "<$1>"), lazy.ReplaceAllString(text, "<$1>")},
	} {
		if diff := cmp.Diff(answers[0], answers[1]); diff != "" {
			t.Errorf("%s (-regexp +lazyregexp):\n%s", name, diff)
		}
	}
	if lazy.MatchString("x") {
		t.Error("x matches")
	}
}

// TestWrong: a test does not pass with an expression that is wrong, even if no text is compared with it.
func TestWrong(t *testing.T) {
	t.Parallel()
	defer func() {
		if text, ok := recover().(string); !ok || !strings.Contains(text, "missing closing )") {
			t.Errorf("New panics with %q", text)
		}
	}()
	lazyregexp.New(`k(\d`)
}
