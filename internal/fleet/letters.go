package fleet

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rekey/internal/bus"
)

// LetterFilter chooses dead letters. Empty fields choose all.
type LetterFilter struct {
	Numbers  []Span // Any of them.
	Job      string // The beginning of a job's id.
	Code     string
	Kind     string
	Receiver string
	Since    time.Time
}

// Span is a range of numbers of dead letters, both ends included.
type Span struct{ From, To uint64 }

// ParseSpan reads a number, or a range like 3-9.
func ParseSpan(text string) (Span, error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 64)
	to, toErr := strconv.ParseUint(last, 10, 64)
	switch {
	case err != nil || toErr != nil || from == 0:
		return Span{}, fmt.Errorf("%q is neither the number of a dead letter nor a range like 3-9", text)
	case to < from:
		return Span{}, fmt.Errorf("the range %d-%d is empty", from, to)
	}
	return Span{From: from, To: to}, nil
}

// Chooses reports whether the filter chooses a dead letter.
func (f *LetterFilter) Chooses(d *bus.DeadLetter) bool {
	inSpan := func(s Span) bool { return d.Number >= s.From && d.Number <= s.To }
	return (len(f.Numbers) == 0 || slices.ContainsFunc(f.Numbers, inSpan)) && strings.HasPrefix(d.JobID, f.Job) && (f.Code == "" || d.Code == f.Code) &&
		(f.Kind == "" || d.Kind == f.Kind) && (f.Receiver == "" || d.Receiver == f.Receiver) && !d.At.Before(f.Since)
}

// FindLetters returns the dead letters that a filter chooses, as the stream has them, the latest first.
func (c *Client) FindLetters(ctx context.Context, f LetterFilter) ([]bus.DeadLetter, error) {
	all, err := c.StoredDeadLetters(ctx, math.MaxInt)
	return slices.DeleteFunc(all, func(d bus.DeadLetter) bool { return !f.Chooses(&d) }), err
}

// Cause is a group of dead letters that have the same cause.
type Cause struct {
	Letters int    `json:"letters"`
	Code    string `json:"code"`
	Kind    string `json:"kind,omitempty"`
	// Receiver is the one that did not get the notifications, where the letters are such.
	Receiver  string    `json:"receiver,omitempty"`
	Reason    string    `json:"reason"`    // Of the latest.
	Succeeded int       `json:"succeeded"` // Of how many the job has succeeded since.
	Numbers   string    `json:"numbers"`   // As `dlq replay` takes them.
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
}

// particular is what tells apart reasons that have the same cause: ids, times, addresses.
var particular = regexp.MustCompile(`[\w.:/-]*\d[\w.:/-]{4,}`)

// Causes groups dead letters, the latest first, by their cause: the largest group first.
func Causes(list []bus.DeadLetter) []Cause {
	groups := map[string]*Cause{}
	numbers := map[string][]uint64{}
	for _, d := range list {
		key := d.Code + "\n" + d.Kind + "\n" + d.Receiver + "\n" + particular.ReplaceAllString(d.Reason, "…")
		if groups[key] == nil {
			groups[key] = &Cause{Code: d.Code, Kind: d.Kind, Receiver: d.Receiver, Reason: d.Reason, Last: d.At}
		}
		groups[key].Letters++
		groups[key].First = d.At
		if d.Succeeded != "" {
			groups[key].Succeeded++
		}
		numbers[key] = append(numbers[key], d.Number)
	}
	causes := make([]Cause, 0, len(groups))
	for key, group := range groups {
		group.Numbers = spans(numbers[key])
		causes = append(causes, *group)
	}
	slices.SortFunc(causes, func(a, b Cause) int {
		return cmp.Or(b.Letters-a.Letters, b.Last.Compare(a.Last), strings.Compare(a.Numbers, b.Numbers))
	})
	return causes
}

// spans writes numbers as ranges.
func spans(numbers []uint64) string {
	slices.Sort(numbers)
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		part := strconv.FormatUint(numbers[i], 10)
		if j > i {
			part += fmt.Sprintf("-%d", numbers[j])
		}
		parts, i = append(parts, part), j+1
	}
	return strings.Join(parts, " ")
}
