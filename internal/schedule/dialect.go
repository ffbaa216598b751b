package schedule

import (
	"fmt"
	"regexp"
)

// notation is something that other schedulers understand and crontab(5) does not.
type notation struct {
	form  *regexp.Regexp // What it looks like, without a step.
	field string         // Name of the one field that it belongs to; empty: any.
	means string         // What it means elsewhere, and what to write here.
}

// notations are looked at in their order.
var notations = []notation{
	{
		regexp.MustCompile(`^(?i:LW|WL)$`), "day of month",
		"LW is the last working day of a month, which cron cannot say: write a day that every month has, such as 28",
	},
	{
		regexp.MustCompile(`^(?i:L(-\d+W?)?)$`), "day of month",
		"L is the last day of a month, which cron cannot say: write 1, the first day of the next month, or 28, which every month has",
	},
	{
		regexp.MustCompile(`^(?i:\d+W)$`), "day of month",
		"W is the working day nearest to a date, which cron cannot say: write the date without W, or MON-FRI as day of week",
	},
	{regexp.MustCompile(`^(?i:L)$`), "day of week", "L is the last day of the week: write SAT"},
	{
		regexp.MustCompile(`^(?i:(\d|[A-Z]{3})L)$`), "day of week",
		"L is the last such weekday of a month, which cron cannot say: write the weekday without L, which is every week, or a day of month",
	},
	{
		regexp.MustCompile(`#`), "day of week",
		"# is the first, second, … such weekday of a month, which cron cannot say: write the weekday without #, which is every week, or a day of month",
	},
	{regexp.MustCompile(`#`), "", "# has no meaning here"},
	{regexp.MustCompile(`^\?$`), "", "? is any day, and belongs in day of month or day of week: write *"},
	{regexp.MustCompile(`\?`), "", "? must be alone"},
	{regexp.MustCompile(`^(?i:H(\(.*\))?)$`), "", "H is a time that Jenkins picks: write a number, and set jitter to spread schedules"},
	{regexp.MustCompile(`~`), "", "~ is a time picked at random: write a number, and set jitter to spread schedules"},
	{regexp.MustCompile(`[‐‑‒–—−]`), "", "the dash is that of a word processor: write -"},
}

// dialect explains a span that is written in the notation of another scheduler, as an error.
func (f field) dialect(span string) error {
	if f.isStar(span) {
		return nil
	}
	for _, n := range notations {
		if (n.field == "" || n.field == f.name) && n.form.MatchString(span) {
			return fmt.Errorf("%q: %s", span, n.means)
		}
	}
	return nil
}
