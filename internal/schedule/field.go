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

// sundayBit is where day 7 lands before it is folded onto day 0.
const sundayBit = 1 << 7

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
			name: "day of week", min: 0, max: 7, day: true,
			names: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"},
		},
	}
}

// parse turns the text of the field, in lower case, into a mask with bit n set for the value n.
func (f field) parse(text string) (uint64, error) {
	var mask uint64
	for element := range strings.SplitSeq(text, ",") {
		part, err := f.parseElement(element)
		if err != nil {
			return 0, err
		}
		mask |= part
	}
	if f.max == 7 && mask&sundayBit != 0 {
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
		return 0, errors.New("an element is empty")
	}
	span, stepText, hasStep := strings.Cut(text, "/")
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

// parseSpan reads what stands before a step. A single value with a step reaches to the end of the field.
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
	case open:
		high = max(low, f.last())
	default:
		high = low
	}
	if low > high {
		return 0, 0, fmt.Errorf("the range %s runs backwards", text)
	}
	return low, high, nil
}

// parseValue reads a number or a name; whole is what it is a part of, for the error.
func (f field) parseValue(text, whole string) (int, error) {
	if i := slices.Index(f.names, text); i >= 0 {
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

// parseStep reads what stands after the slash. A step that is longer than the field ("*/90" for the minutes) looks
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
	if f.max == 7 {
		return 6
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
