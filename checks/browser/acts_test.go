package browser_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// act is something that a person does, on a page of its own.
type act struct {
	path  string // Of the page that asks.
	says  string // What it comes to, before it is done.
	after string // What the page says that follows.
}

// acts are all of those that are about one thing, in an order in which each can be done.
func (i incident) acts() []act {
	return []act{
		{"/jobs/" + i.waiting + "/cancel", "ends before its next attempt", "cancelled"},
		{"/jobs/" + i.refused + "/retry", "The call that its kind makes is made again", "Operator: retry"},
		{"/jobs/" + i.dead + "/stop-watch", "not looked at any more", "Operator: stop"},
		{"/schedules/weekly-x509/pause", "does not fire, on all workers", "paused"},
		{"/schedules/weekly-x509/run", "The job of the schedule is made now", ""},
		{"/schedules/weekly-x509/resume", "The schedule fires again", "resume by operator"},
		{"/rotations/ci/run", "every store gets it", ""},
		{"/rotations/ci/abandon", "the new secret is deleted", "Operator: cancel"},
		{"/receivers/security-channel/test", "A sample is sent once", "The receiver has not taken the sample"},
	}
}

// testActs: each act says what it touches and whose name it has, is done with a reason, and is recorded where the thing is.
func testActs(t *testing.T, f *fleet, i incident) {
	b := f.newTab(t)
	b.logIn(f, operatorToken)
	b.awaitText("operator")
	for n, a := range i.acts() {
		b.visit(f.login + a.path)
		b.focus("input[name=reason]")
		for _, part := range []string{a.says, "recorded with the name operator"} {
			if text := b.text(); !strings.Contains(text, part) {
				t.Errorf("%s does not say %q: %s", a.path, part, text)
			}
		}
		b.keys(fmt.Sprintf("reason %d of a person", n) + kb.Enter)
		if a.after != "" {
			b.awaitText(a.after)
		} else {
			b.await("location.pathname.startsWith('/jobs/')")
			b.awaitText(fmt.Sprintf("reason %d of a person", n)) // The job that was made.
		}
	}
}

// testViewer: a wrong token is not let in, and a client that may read sees the jobs, has no button, and can do nothing.
func testViewer(t *testing.T, f *fleet, i incident) {
	b := f.newTab(t)
	b.logIn(f, "wrong")
	b.awaitText("This token is not accepted.")
	b.logIn(f, viewerToken)
	b.awaitText("viewer")
	for _, path := range []string{"/jobs/" + i.refused, "/jobs/" + i.waiting, "/dead-letters", "/dead-letters/1", "/schedules", "/rotations", "/receivers"} {
		b.visit(f.login + path)
		if button := eval[string](b, `document.querySelector('main a.button, main td .acts a, main a[id^=test-], main form[method=post], main button[formaction]')?.outerHTML || ''`); button != "" {
			t.Errorf("a viewer has a button on %s: %s", path, button)
		}
	}
	acts := append(i.acts(), act{path: "/dead-letters/replay?all=yes"}, act{path: "/dead-letters/drop?all=yes"})
	for _, a := range acts {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			status := eval[int](b, fmt.Sprintf(`(r => { r.open(%q, %q, false); r.setRequestHeader('Content-Type', 'application/x-www-form-urlencoded'); r.send('reason=x&all=yes'); return r.status })(new XMLHttpRequest())`, method, a.path))
			if status != http.StatusForbidden {
				t.Errorf("%s %s of a viewer is answered with %d", method, a.path, status)
			}
		}
	}
}

// testLetters: dead letters are replayed and dropped: one, the chosen ones, and all of a filter.
func testLetters(t *testing.T, f *fleet) {
	b := f.newTab(t)
	b.logIn(f, operatorToken)
	b.awaitText("operator")
	numbers := func() []int {
		b.visit(f.login + "/dead-letters?code=malformed")
		return eval[[]int](b, "[...document.querySelectorAll('input[name=numbers]')].map(e => +e.value)")
	}
	do := func(says string) {
		b.focus("input[name=reason]")
		if text := b.text(); !strings.Contains(text, says) {
			t.Errorf("it does not say %q: %s", says, text)
		}
		b.keys("looked at by a person" + kb.Enter)
	}
	all := numbers()
	if len(all) != 4 {
		t.Fatalf("the dead letters are %v", all)
	}
	b.visit(fmt.Sprintf("%s/dead-letters/%d", f.login, all[3]))
	b.click("a.button[href*='/replay']")
	do("It would fail the same way")
	b.awaitText("published as event")
	if left := numbers(); len(left) == 4 && left[3] == all[3] {
		t.Errorf("dead letter %d is there after its replay", all[3])
	}
	b.click(fmt.Sprintf("#letter-%d", all[1]))
	b.click(fmt.Sprintf("#letter-%d", all[2]))
	b.click("button[formaction='/dead-letters/drop']")
	do("what they are about is not done")
	b.awaitText("Dropped")
	numbers()
	b.click("main a[href^='/dead-letters/drop?all=yes&code=malformed']")
	do("The dead letters are deleted")
	b.awaitText("Dropped")
	if left := numbers(); len(left) != 0 {
		t.Errorf("dead letters %v are left", left)
	}
	b.visit(f.login + "/dead-letters")
	b.awaitText("refused") // It was not chosen by the filter.
}
