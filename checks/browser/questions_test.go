package browser_test

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// testQuestions: what a responder asks is on the first page, or at most two steps from it: a link, or / and words.
func testQuestions(t *testing.T, f *fleet) {
	b := f.newTab(t)
	for _, q := range []struct {
		asks  string
		steps []string // A selector is clicked, other words are looked for.
		has   string   // What must be on the page then: a selector, and
		says  string   // in it.
	}{
		{"Is the credential of IR-4711 dead?", []string{"IR-4711"}, "td[data-label=State]", "revoked"},
		{"Who asked?", []string{"IR-4711"}, "td[data-label='Requested by']", "operator"},
		{"When was it proven?", []string{"IR-4711"}, "td[data-label=Proof] time", "UTC"},
		{"What is still alive?", nil, "#tile-alive", "still alive"},
		{"Since when is the oldest?", nil, "#alive + ul", "the oldest from"},
		{"Who must act?", nil, ".act", "responder: "},
		{"Who works?", nil, "td[data-label=Worker]", "worker-1"},
		{"What is paused, and until when?", nil, "td[data-label=Opens] time", "UTC"},
		{"Why does a job wait?", []string{"#tile-unfinished", "td .id"}, ".story", "unavailable: HTTP 503"},
		{"What failed for good, and why?", nil, "td[data-label=Reason]", "project"},
		{"Was the pager reached?", nil, "main", "security-channel"},
		{"When does a schedule fire next?", []string{"nav a[href='/schedules']"}, "td[data-label=Next]", ""},
	} {
		b.visit(f.open + "/")
		for _, step := range q.steps {
			before := eval[string](b, "location.href")
			if strings.ContainsAny(step, "#.[") {
				b.click(step)
			} else {
				slash := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "/", Text: "/"}
				if _, err := chromedp.Call(b.ctx, input.DispatchKeyEvent, slash); err != nil {
					t.Fatal(err)
				}
				b.keys(step + kb.Enter)
			}
			b.await("document.readyState === 'complete' && location.href !== '" + before + "'")
		}
		text := eval[string](b, "[...document.querySelectorAll(\""+q.has+"\")].map(e => e.textContent).join(' ') || 'nothing'")
		if text == "nothing" || !strings.Contains(text, q.says) {
			t.Errorf("%s %s has %q, want %q", q.asks, q.has, text, q.says)
		}
		t.Logf("%s %d steps", q.asks, len(q.steps))
	}
}
