package words_test

import "regexp"

// rule is one word of a private dialect, and what an operator would search for instead.
type rule struct {
	pattern *regexp.Regexp
	except  *regexp.Regexp // Matches, from the word on, the uses that are plain English; nil for none.
	better  string
}

func word(pattern, except, better string) rule {
	r := rule{pattern: regexp.MustCompile(`(?i)\b(?:` + pattern + `)\b`), better: better}
	if except != "" {
		r.except = regexp.MustCompile(`(?i)^(?:` + except + `)\b`)
	}
	return r
}

// rules is the list. TestFind shows what is found and what passes.
var rules = []rule{
	word(`nobody`, "", `who it is: "no worker", "no caller", "no other process"`),
	word(`somebody|someone|anybody|anyone|everybody|everyone`, "", `who it is: "an operator", "another worker", "all users"`),
	word(`whoever`, "", `who it is: "the caller that", "any client that"`),
	word(`for ever`, "", `"without a limit", "until it is stopped"`),
	word(`(?:comes?|came|coming) again`, "", `"is redelivered", "is retried", "repeats"`),
	word(`(?:is|are|was|were|be|been|being) told`, `\w+ told apart`, `"receives", "is notified", "learns"`),
	word(`stands?|stood|standing`, `stand[- ]ins?|stands? for|stood for|(?:stands?|standing) in for|stand still|stood still`,
		`"is in", "is stored", "is listed", "state"`),
	word(`what is no|what are no`, "", `the thing itself: "an invalid header is ignored"`),
	word(`(?:that|which|it|text|id|url) is none|are none`, "", `"is invalid", "is not one"`),
	word(`no say|'s say|its say|their say`, "", `a verb: "decides", "allows"`),
	word(`back to work`, "", `"retry", "replay"`),
	word(`throws? (?:it )?away|thrown away|throw (?:a|the) [a-z ]+ away`, "", `"delete", "discard", "drop"`),
	word(`hears? of`, "", `"receives", "learns of"`),
	word(`no room|has room|is room`, "", `"full", "has free space"`),
}
