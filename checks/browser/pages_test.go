package browser_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestConsole looks at one worker's console, one thing after the other. In each of them, no page may ask another host, hold a secret,
// or have a script that fails.
func TestConsole(t *testing.T) {
	f := newFleet(t)
	dead := f.submit("x509.disable", `"project_id": "5ec0000000000000000000f1"`, "IR-4711")
	refused := f.submit("idp.delete", `"federation_id": "5ec0000000000000000000c1", "identity_provider_id": "000000000000000000000001"`, "IR-4712")
	t.Run("pages", func(t *testing.T) { testPages(t, f, dead) })
	t.Run("keyboard", func(t *testing.T) { testKeyboard(t, f, dead) })
	t.Run("live", func(t *testing.T) { testLive(t, f) })
	t.Run("viewer", func(t *testing.T) { testViewer(t, f, refused) })
	t.Run("act", func(t *testing.T) { testAct(t, f, refused) })
	t.Run("expired session", func(t *testing.T) { testExpiredSession(t, f, refused) })
}

// testPages: each page can be seen with JavaScript, has a title of its own, and is no wider than a phone.
func testPages(t *testing.T, f *fleet, job string) {
	b := newTab(t)
	b.visit(f.open + "/")
	paths := eval[[]string](b, "[...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))")
	if len(paths) < 8 {
		t.Fatalf("the navigation has %v", paths)
	}
	titles := map[string]string{}
	b.do(chromedp.EmulateViewport(390, 844))
	for _, path := range append(paths, "/jobs/"+job) {
		b.visit(f.open + path)
		title := eval[string](b, "document.title")
		if other, ok := titles[title]; ok || !strings.HasSuffix(title, " · Rekey") {
			t.Errorf("%s has the title %q, and so has %q", path, title, other)
		}
		titles[title] = path
		if !eval[bool](b, "document.documentElement.classList.contains('js')") {
			t.Errorf("the script of %s did not run", path)
		}
		if !eval[bool](b, "document.querySelector('main h1').checkVisibility() && document.querySelector('#live').getBoundingClientRect().height > 10") {
			t.Errorf("%s cannot be seen", path)
		}
		if wide := eval[int](b, "document.documentElement.scrollWidth"); wide > 390 {
			t.Errorf("%s is %d pixels wide", path, wide)
		}
	}
}

// testKeyboard: without a pointer, a reader comes to the jobs and finds one.
func testKeyboard(t *testing.T, f *fleet, job string) {
	b := newTab(t)
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
	b := newTab(t)
	b.visit(f.open + "/jobs")
	eval[bool](b, "window.same = true")
	b.await("document.getElementById('link').classList.contains('good')")
	b.awaitText(f.submit("x509.disable", `"project_id": "5ec0000000000000000000f2"`, "IR-4713"))
	if !eval[bool](b, "window.same === true") {
		t.Error("the page was loaded")
	}
}

// testViewer: a wrong token is not let in, and a client that may read sees the job and cannot act.
func testViewer(t *testing.T, f *fleet, refused string) {
	b := newTab(t)
	b.logIn(f, "wrong")
	b.awaitText("This token is not accepted.")
	b.logIn(f, viewerToken)
	b.awaitText("viewer")
	b.visit(f.login + "/jobs/" + refused)
	b.awaitText("refused")
	if eval[bool](b, `document.querySelector('a.button') !== null`) {
		t.Errorf("a viewer has a button: %s", b.text())
	}
	b.visit(f.login + "/jobs/" + refused + "/retry")
	if text := b.text(); !strings.Contains(text, "Not allowed") || eval[bool](b, "document.querySelector('main form') !== null") {
		t.Errorf("a viewer may act: %s", text)
	}
}

// testAct: an act says what it touches and whose name it has, and its reason is recorded.
func testAct(t *testing.T, f *fleet, refused string) {
	b := newTab(t)
	b.logIn(f, operatorToken)
	b.awaitText("operator")
	b.visit(f.login + "/jobs/" + refused)
	b.await(`(a => a !== null && (a.click(), true))(document.querySelector('a.button[href$="/retry"]'))`)
	b.focus("input[name=reason]")
	for _, part := range []string{"idp.delete", refused, "recorded with the name operator"} {
		if text := b.text(); !strings.Contains(text, part) {
			t.Errorf("the act does not say %q: %s", part, text)
		}
	}
	b.keys("the provider is back" + kb.Enter)
	b.await(fmt.Sprintf("location.pathname === %q", "/jobs/"+refused))
	b.awaitText("the provider is back")
}

// testExpiredSession: what was typed outlives the session, and is not done before the person looks at it once more.
func testExpiredSession(t *testing.T, f *fleet, refused string) {
	b := newTab(t)
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
