package browser_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"rekey/checks/repo"
)

// TestConsole looks at one worker's console, one thing after the other. In each of them, no page may ask another host, hold a secret,
// or have a script that fails.
func TestConsole(t *testing.T) {
	f := newFleet(t)
	i := newIncident(f)
	t.Run("pages", func(t *testing.T) { testPages(t, f, i.dead) })
	t.Run("keyboard", func(t *testing.T) { testKeyboard(t, f, i.dead) })
	t.Run("questions", func(t *testing.T) { testQuestions(t, f) })
	t.Run("live", func(t *testing.T) { testLive(t, f) })
	t.Run("viewer", func(t *testing.T) { testViewer(t, f, i) })
	t.Run("acts", func(t *testing.T) { testActs(t, f, i) })
	t.Run("dead letters", func(t *testing.T) { testLetters(t, f) })
	t.Run("expired session", func(t *testing.T) { testExpiredSession(t, f, i.refused) })
	t.Run("many jobs", func(t *testing.T) { testMany(t, f) })
	t.Run("no NATS", func(t *testing.T) { testNoNATS(t, f) })
}

// incident is what happened before a person looks.
type incident struct {
	dead    string // A job whose target is shown to be dead, and is watched.
	refused string
	waiting string
}

// newIncident has a job in each state, events that were rejected, and a rotation that waits.
func newIncident(f *fleet) (i incident) {
	f.t.Helper()
	mapping := `"federation_id": "5ec0000000000000000000c1", "org_id": "5ec0000000000000000000b1", "role_mapping_id": "5ec0000000000000000000%s"`
	alive := f.submit("role_mapping.delete", fmt.Sprintf(mapping, "e1"), "IR-4714: the contractor's laptop is gone")
	f.await(alive, "proof")
	i.dead = f.submit("role_mapping.delete", fmt.Sprintf(mapping, "e2"), "IR-4711: the group was added by an intruder")
	i.refused = f.submit("idp.delete", `"federation_id": "5ec0000000000000000000c1", "identity_provider_id": "000000000000000000000001"`, "IR-4712: unknown provider")
	f.submit("x509.disable", `"project_id": "5ec0000000000000000000f1"`, "IR-4713: a client's key was in a repository")
	f.await(i.dead, "proof") // Before its rate bucket is paused.
	f.await(i.refused, "outcome")
	i.waiting = f.submit("jwks.revoke", `"federation_id": "5ec0000000000000000000c1", "identity_provider_id": "5ec0000000000000000000d1"`, "IR-4715: signing key of the provider")
	f.submit("token.revoke", fmt.Sprintf(`"token": %q`, leakedToken), "IR-4716: a token was in a log")
	for n := range 4 {
		f.publish(fmt.Sprintf(`{"kind": "x509.disable", "reason": "IR-47%d", "params": {"project": "5ec0000000000000000000f1"}}`, 20+n))
	}
	repo.Eventually(f.t, "the dead letters", func() bool {
		code, _ := f.ask(http.MethodGet, f.open+"/dead-letters/6", nil)
		return code == http.StatusOK
	})
	return i
}

// testKeyboard: without a pointer, a reader comes to the jobs and finds one.
func testKeyboard(t *testing.T, f *fleet, job string) {
	b := f.newTab(t)
	b.visit(f.open + "/")
	var passed []string
	for range 20 {
		b.keys(kb.Tab)
		passed = append(passed, eval[string](b, "document.activeElement.textContent.trim()"))
		if passed[len(passed)-1] == "Jobs" {
			break
		}
	}
	if passed[0] != "Skip to the content" || passed[len(passed)-1] != "Jobs" {
		t.Fatalf("the key leads to %q", passed)
	}
	b.keys(kb.Enter)
	b.await("document.readyState === 'complete' && location.pathname === '/jobs'")
	// One event, as of a keyboard: the page takes it, and it types nothing.
	slash := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "/", Text: "/"}
	if _, err := chromedp.Call(b.ctx, input.DispatchKeyEvent, slash); err != nil {
		t.Fatal(err)
	}
	b.await("document.activeElement.type === 'search'")
	b.keys("IR-4711" + kb.Enter)
	b.await("location.search.includes('q=IR-4711')")
	b.awaitText(job)
}

// testLive: a job shows without a load of the page.
func testLive(t *testing.T, f *fleet) {
	b := f.newTab(t)
	b.visit(f.open + "/jobs")
	eval[bool](b, "window.same = true")
	b.await("document.getElementById('link').classList.contains('good')")
	b.awaitText(f.submit("x509.disable", `"project_id": "5ec0000000000000000000f2"`, "IR-4799"))
	if !eval[bool](b, "window.same === true") {
		t.Error("the page was loaded")
	}
}

// testExpiredSession: what was typed outlives the session, and is not done before the person looks at it once more.
func testExpiredSession(t *testing.T, f *fleet, refused string) {
	b := f.newTab(t)
	b.logIn(f, operatorToken)
	b.awaitText("operator")
	b.visit(f.login + "/jobs/" + refused + "/retry")
	b.focus("input[name=reason]")
	b.keys("typed before")
	if _, err := chromedp.Call(b.ctx, network.ClearBrowserCookies, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	b.keys(kb.Enter)
	b.awaitText("what you typed is kept")
	b.focus("input[name=login_token]")
	b.keys(operatorToken + kb.Enter)
	b.await("document.readyState === 'complete' && document.querySelector('input[name=reason]:not([type=hidden])')?.value === 'typed before'")
	b.visit(f.login + "/jobs/" + refused)
	if text := b.text(); strings.Contains(text, "typed before") {
		t.Errorf("it was done: %s", text)
	}
}
