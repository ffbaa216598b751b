package notify

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// card is a notification's own text: what is sent without a template.
type card struct {
	What  string   // The outcome or verdict.
	Of    string   // What it is about; it follows What in the first line.
	Lines []string // What it means and what was seen.
	Facts []fact
	Link  string // Empty: none.
}

// fact is a line of a card that has a name.
type fact struct{ Name, Value string }

// maxLines is how many lines of a template's text count.
const maxLines = 100

// card is the view as people read it.
func (v View) card() card {
	c := card{What: v.Outcome, Of: ": " + v.Kind + " of " + v.Target + ", account " + v.Account, Link: v.Link}
	if v.IsVerdict {
		c.What = v.Proof
	}
	if v.DryRun {
		c.Of = " (dry run)" + c.Of
	}
	for _, line := range []string{v.Means, v.Evidence, v.Detail} {
		if line != "" {
			c.Lines = append(c.Lines, line)
		}
	}
	attempts := fmt.Sprintf("%d attempts", v.Attempts)
	if v.Attempts == 1 {
		attempts = "1 attempt"
	}
	for _, f := range []fact{
		{"Since", v.AcceptedAt.Format("2006-01-02 15:04:05 MST") + " (" + v.Took.String() + ")"},
		{"Reason", v.Reason},
		{"Requested by", v.RequestedBy},
		{"Policy", v.Policy},
		{"Job", v.JobID + ", lane " + v.Lane + ", " + attempts},
		{"Look", v.Command},
		{"Then", v.Act},
	} {
		if f.Value != "" {
			c.Facts = append(c.Facts, f)
		}
	}
	return c
}

// card is what a receiver is sent: of the template where there is one.
func (c *Composer) card(r *Result, clean func(string) string) (card, error) {
	v := r.view(clean, c.console)
	if c.tmpl == nil {
		return v.card(), nil
	}
	out, err := c.render(v)
	if err != nil {
		return card{}, err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if lines[0] == "" {
		return card{}, &TemplateError{Detail: "it makes an empty text"}
	}
	return card{What: lines[0], Lines: lines[1:min(len(lines), maxLines)], Link: v.Link}, nil
}

// head is the first line.
func (c card) head() string { return c.What + c.Of }

// text is all but the first line, as plain text.
func (c card) text() string {
	lines := slices.Clone(c.Lines)
	for _, f := range c.Facts {
		lines = append(lines, f.Name+": "+f.Value)
	}
	if c.Link != "" {
		lines = append(lines, "Console: "+c.Link)
	}
	return strings.Join(lines, "\n")
}

// head keeps the beginning of a text, at most so many characters. They are counted in units of UTF-16, as some vendors do: an emoji has
// two of them, and no character has fewer than one.
func head(text string, most int) string {
	units, end := 0, 0
	for at, r := range text {
		if units < most {
			end = at // Up to here it fits, with one more for the ellipsis.
		}
		if units += utf16.RuneLen(r); units > most {
			return text[:end] + "…"
		}
	}
	return text
}
