package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Parse reads a schedule expression that ticks by the clock of the time zone zone (an IANA name; "" means UTC).
//
// An expression is one of
//   - five fields, "minute hour day-of-month month day-of-week", as crontab(5) has them: numbers, names of months
//     and days (three letters, any case), "*", ranges "a-b", steps "/n" and lists with commas. Sunday is 0 or 7, also
//     by its name (FRI-SUN), and "?" is "*" in the two fields for days. Blanks and tabs part the fields. Where both of these begin with something else than "*" or "?", a
//     day matches that fits either of them, otherwise a day must fit both;
//   - @yearly or @annually, @monthly, @weekly, @daily or @midnight, @hourly;
//   - "@every D" with a Go duration D of whole seconds, for which the zone does not matter: see [Expr.Next].
//
// It refuses what robfig/cron lets pass: empty list elements, steps that are longer than their field, expressions
// that can never fire (31 February), zones inside the expression (TZ=, which would contradict zone), and the zone
// "Local", which is another one on each machine. The errors name the field and its number, and say what to write instead
// of the notations of other schedulers (L, W, #, H).
func Parse(expr, zone string) (Expr, error) {
	if zone == "Local" {
		return Expr{}, errors.New("time zone Local differs between machines: name one, such as Europe/Berlin")
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return Expr{}, fmt.Errorf("loading time zone: %w", err)
	}
	words := strings.Fields(expr)
	e := Expr{text: strings.Join(words, " "), loc: loc}
	switch {
	case len(words) == 0:
		return Expr{}, errors.New("the expression is empty")
	case hasZonePrefix(words[0]):
		return Expr{}, fmt.Errorf("%s: the time zone does not belong inside the expression", words[0])
	case strings.EqualFold(words[0], "@every"):
		e.every, err = parseEvery(words[1:])
	case strings.HasPrefix(e.text, "@"):
		if words, err = expandMacro(strings.ToLower(e.text)); err == nil {
			e.fields, err = parseFields(words)
		}
	default:
		e.fields, err = parseFields(words)
	}
	if err != nil {
		return Expr{}, err
	}
	return e, nil
}

// hasZonePrefix recognises robfig/cron's way to name a zone inside the expression.
func hasZonePrefix(word string) bool {
	upper := strings.ToUpper(word)
	return strings.HasPrefix(upper, "TZ=") || strings.HasPrefix(upper, "CRON_TZ=")
}

// parseEvery reads what follows @every.
func parseEvery(words []string) (time.Duration, error) {
	if len(words) != 1 {
		return 0, errors.New("@every needs one duration, such as @every 6h or @every 1h30m")
	}
	every, err := time.ParseDuration(words[0])
	switch {
	case err != nil:
		return 0, fmt.Errorf("@every: %q is not a duration such as 6h or 1h30m", words[0])
	case every < time.Second:
		return 0, fmt.Errorf("@every: %s is below the minimum 1s", words[0])
	case every%time.Second != 0:
		return 0, fmt.Errorf("@every: %s is not a whole number of seconds", words[0])
	}
	return every, nil
}

// expandMacro returns the five fields that a word such as @daily stands for.
func expandMacro(text string) ([]string, error) {
	var fields string
	switch text {
	case "@yearly", "@annually":
		fields = "0 0 1 1 *"
	case "@monthly":
		fields = "0 0 1 * *"
	case "@weekly":
		fields = "0 0 * * 0"
	case "@daily", "@midnight":
		fields = "0 0 * * *"
	case "@hourly":
		fields = "0 * * * *"
	default:
		return nil, fmt.Errorf("%q is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly or @every D", text)
	}
	return strings.Fields(fields), nil
}

// parseFields reads the five fields into robfig/cron's masks. The masks are in UTC on purpose: see [Expr.Next].
func parseFields(words []string) (*cron.SpecSchedule, error) {
	if err := countFields(words); err != nil {
		return nil, err
	}
	spec := &cron.SpecSchedule{Second: 1 << 0, Location: time.UTC}
	masks := []*uint64{&spec.Minute, &spec.Hour, &spec.Dom, &spec.Month, &spec.Dow}
	var errs []error
	for i, f := range crontabFields() {
		mask, err := f.parse(words[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("%s (field %d): %w", f.name, i+1, err))
		}
		*masks[i] = mask
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	// Any year would do to begin with: the search covers every combination of leap year and weekday.
	if nextWall(spec, time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("day of month (field 3): %s never comes in month %s, so this can never fire", words[2], words[3])
	}
	return spec, nil
}

// countFields reports, as an error, that there are not five fields, and what may be the reason.
func countFields(words []string) error {
	if len(words) == 5 {
		return nil
	}
	why := ""
	for _, word := range words {
		if strings.HasPrefix(word, ",") || strings.HasSuffix(word, ",") {
			why = "; a list has no blanks: write 1,2"
		}
	}
	if why == "" && len(words) > 5 {
		why = "; there is none for seconds (first) or years (last)"
	}
	return fmt.Errorf("the expression has %d of 5 fields: minute, hour, day of month, month, day of week%s", len(words), why)
}
