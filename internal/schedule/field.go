package schedule

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// field is one of the five columns of a crontab line.
type field struct {
	name     string
	min, max int
	// names stand for the numbers from min upwards.
	names []string
	// day marks the two fields that choose days: they know "?" and remember a star, which decides how the two combine.
	day bool
}

// starBit is what robfig/cron's SpecSchedule looks for in the day fields to tell "any day" from a list of all days.
const starBit = 1 << 63

// Day 7 is Sunday, which is day 0 as well: sundayBit is where it lands before it is folded onto that.
const (
	sunday    = 7
	sundayBit = 1 << sunday
)

// crontabFields returns the columns in their order. Days of the week reach to 7, which is Sunday again.
func crontabFields() []field {
	return []field{
		{name: "minute", min: 0, max: 59},
		{name: "hour", min: 0, max: 23},
		{name: "day of month", min: 1, max: 31, day: true},
		{
			name: "month", min: 1, max: 12,
			names: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"},
		},
		{
			name: "day of week", min: 0, max: sunday, day: true,
			names: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"},
		},
	}
}

// parse turns the text of the field into a mask with bit n set for the value n.
func (f field) parse(text string) (uint64, error) {
	var mask uint64
	for element := range strings.SplitSeq(text, ",") {
		part, err := f.parseElement(element)
		if err != nil {
			return 0, err
		}
		mask |= part
	}
	if f.max == sunday && mask&sundayBit != 0 {
		mask = mask&^sundayBit | 1
	}
	// As in crontab(5), "*/2" counts as a star too: "0 0 */2 * 1" means the Mondays among the odd days.
	if f.day && f.isStar(text[:1]) {
		mask |= starBit
	}
	return mask, nil
}

// parseElement reads one element of a list: a value, a range or a star, each with or without a step.
func (f field) parseElement(text string) (uint64, error) {
	if text == "" {
		return 0, errors.New("an element of the list is empty: no comma at the begin, at the end or before another one")
	}
	span, stepText, hasStep := strings.Cut(text, "/")
	if err := f.dialect(span); err != nil {
		return 0, err
	}
	low, high, err := f.parseSpan(span, hasStep)
	if err != nil {
		return 0, err
	}
	step := 1
	if hasStep {
		if step, err = f.parseStep(stepText); err != nil {
			return 0, err
		}
	}
	var mask uint64
	for n := low; n <= high; n += step {
		mask |= 1 << n
	}
	return mask, nil
}

// parseSpan reads the part before a step. A single value with a step reaches to the end of the field.
func (f field) parseSpan(text string, open bool) (low, high int, err error) {
	if f.isStar(text) {
		return f.min, f.last(), nil
	}
	lowText, highText, isRange := strings.Cut(text, "-")
	if low, err = f.parseValue(lowText, text); err != nil {
		return 0, 0, err
	}
	switch {
	case isRange:
		if high, err = f.parseValue(highText, text); err != nil {
			return 0, 0, err
		}
		low, high = f.throughSunday(low, high)
	case open:
		high = max(low, f.last())
	default:
		high = low
	}
	if low > high {
		return 0, 0, fmt.Errorf("the range %s runs backwards: write %s", text, f.forwards(lowText, highText))
	}
	return low, high, nil
}

// throughSunday takes Sunday for the last day of a range that ends with it and for the first of one that begins with it:
// FRI-SUN and 5-0 are 5-7, 7-1 is 0-1.
func (f field) throughSunday(low, high int) (first, last int) {
	switch {
	case f.max != sunday:
	case high == 0 && low > 0:
		high = sunday
	case low == sunday && high < sunday:
		low = 0
	}
	return low, high
}

// forwards is a range that runs backwards, written as two that do not: 22-3 as 22-23,0-3.
func (f field) forwards(low, high string) string {
	top, bottom := strconv.Itoa(f.last()), strconv.Itoa(f.min)
	if len(f.names) > 0 && strings.Trim(low, "0123456789") != "" {
		top, bottom = strings.ToUpper(f.names[len(f.names)-1]), strings.ToUpper(f.names[0])
	}
	span := func(from, to string) string {
		if strings.EqualFold(from, to) {
			return from
		}
		return from + "-" + to
	}
	return span(low, top) + "," + span(bottom, high)
}

// parseValue reads a number or a name; whole is what it is a part of, for the error.
func (f field) parseValue(text, whole string) (int, error) {
	if i := slices.Index(f.names, strings.ToLower(text)); i >= 0 {
		return f.min + i, nil
	}
	n, ok := parseNumber(text)
	switch {
	case !ok && len(f.names) > 0:
		return 0, fmt.Errorf("%q is neither a number nor a name such as %s", whole, f.names[0])
	case !ok:
		return 0, fmt.Errorf("%q is not a number", whole)
	case n < f.min:
		return 0, fmt.Errorf("%d is below the minimum %d", n, f.min)
	case n > f.max:
		return 0, fmt.Errorf("%d is above the maximum %d", n, f.max)
	}
	return n, nil
}

// parseStep reads the part after the slash. A step that is longer than the field ("*/90" for the minutes) looks
// like every 90 minutes and would be every hour, so it is refused.
func (f field) parseStep(text string) (int, error) {
	step, ok := parseNumber(text)
	longest := f.last() - f.min + 1
	switch {
	case !ok:
		return 0, fmt.Errorf("the step %q is not a number", text)
	case step == 0:
		return 0, errors.New("the step 0 is below the minimum 1")
	case step > longest:
		return 0, fmt.Errorf("the step %d is above the maximum %d", step, longest)
	}
	return step, nil
}

// isStar says whether text means every value of the field.
func (f field) isStar(text string) bool {
	return text == "*" || f.day && text == "?"
}

// last returns the highest value that is not another name for a lower one.
func (f field) last() int {
	if f.max == sunday {
		return sunday - 1
	}
	return f.max
}

// parseNumber reads digits only: strconv alone would let a sign pass.
func parseNumber(text string) (int, bool) {
	if strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

// isEveryHour says whether the mask of an hour field has all 24 hours.
func isEveryHour(mask uint64) bool {
	return bits.OnesCount64(mask) == 24
}
