package policy

import (
	"strings"
	"testing"
)

// TestFail: a rule that refuses an event says so in its own words, and only where the event is its business.
func TestFail(t *testing.T) {
	tests := []struct {
		name, when        string
		wantHeld, wantWhy string
	}{
		{name: "nothing is wrong", when: `event.data.kind == "leak" && (has(event.data.token) || fail("no token"))`},
		{name: "something is", when: `event.data.kind == "leak" && (has(event.data.secret) || fail("the secret is missing: the forwarder adds it"))`, wantHeld: "when: the secret is missing: the forwarder adds it"},
		{name: "in the other order", when: `(has(event.data.secret) || fail("no secret")) && event.data.kind == "leak"`, wantHeld: "when: no secret"},
		{name: "another event", when: `event.data.kind == "other" && (has(event.data.secret) || fail("no secret"))`, wantWhy: `when: false is event.data.kind == "other"`},
		{name: "as a value", when: `(event.data.kind == "leak" ? fail("not yet") : "x") == "x"`, wantHeld: "when: not yet"},
		{name: "in a list", when: `[1, 2].exists(n, n == 2 && fail("two"))`, wantHeld: "when: two"},
		{name: "with a bound name", when: `cel.bind(d, event.data, d.kind == "x" || fail("no x"))`, wantHeld: "when: no x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(t, Rule{When: Expr(tt.when), Jobs: disable()}, event(t, `{"kind": "leak", "token": "`+canary+`"}`))
			held := ""
			if d.Rejection != nil {
				held = d.Rejection.Field + ": " + d.Rejection.Detail
			}
			if held != tt.wantHeld || d.Why != tt.wantWhy {
				t.Errorf("held %q, why %q; want %q, %q", held, d.Why, tt.wantHeld, tt.wantWhy)
			}
		})
	}
}

// TestFailTakesFixedTexts: its text is shown, so that nothing of an event may be in it.
func TestFailTakesFixedTexts(t *testing.T) {
	for _, when := range []string{
		`fail(event.data.token)`, `fail("token " + string(event.data.token))`, `event.data.x == 1 || fail(event.id)`, `[event.id].all(t, fail(t))`,
	} {
		_, err := New("", nil, []Rule{{Name: "a", When: Expr(when), Jobs: disable()}})
		if err == nil || !strings.Contains(err.Error(), "fail takes a text in quotes") {
			t.Errorf("%s: %v", when, err)
		}
	}
}

func TestUnfilled(t *testing.T) {
	const payload = `{"empty": "", "blank": " ", "mustache": "{{rule.name}}", "half": "rule }}", "jinja": "{% if x %}", "shell": "id ${ID}", "logic": "@{triggerBody()}",
		"ruby": "#{id}", "splunk": "$result.user$", "falco": "%{k8s}", "none": "<NA>", "go": "<no value>", "js": "undefined", "object": "[object Object]", "null": null,
		"text": "Atlas: 100% {of} $5, $6 and #7 @ home <x>", "number": 7, "list": ["{{a}}"], "id": "5ec0000000000000000000d1"}`
	for name, want := range map[string]bool{
		"empty": true, "blank": true, "mustache": true, "half": true, "jinja": true, "shell": true, "logic": true, "ruby": true, "splunk": true, "falco": true,
		"none": true, "go": true, "js": true, "object": true, "null": false, "text": false, "number": false, "list": false, "id": false,
	} {
		d := decide(t, Rule{When: Expr(`unfilled(event.data["` + name + `"])`), Jobs: disable()}, event(t, payload))
		if d.Rejection != nil || d.Matched != want {
			t.Errorf("%s: %t, %v, want %t", name, d.Matched, d.Rejection, want)
		}
	}
}
