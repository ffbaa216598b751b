package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rekey/internal/bus"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/show"
)

// How many dead letters a page lists, are grouped, and are replayed or dropped at once.
const (
	lettersOnPage  = 50
	lettersGrouped = 1000
	lettersAtOnce  = 200
)

// letterRow is a dead letter in a list.
type letterRow struct {
	Number    uint64
	At        time.Time
	Code      string
	Kind      string
	Receiver  string
	JobID     string
	Event     string
	Reason    string
	Succeeded jobs.Outcome // Of its job, where that has succeeded since.
	Same      string       // Why its replay would fail the same way.
	Result    string       // What became of it.
	Failed    bool
}

func newLetterRow(d *bus.DeadLetter) letterRow {
	return letterRow{Number: d.Number, At: d.At, Code: d.Code, Kind: d.Kind, Receiver: d.Receiver, JobID: d.JobID, Event: show.EventName(d.Event), Reason: d.Reason, Succeeded: d.Succeeded}
}

// lettersView is the dead letters.
type lettersView struct {
	filter
	Causes  []causeRow
	Letters []letterRow
	Grouped int    // Of how many the groups are; 0: of all.
	All     string // The query that chooses all of the filter.
	First   string
	Next    string
}

// causeRow is a group of dead letters.
type causeRow struct {
	fleet.Cause
	Chosen string // The query that chooses its letters.
}

// letters lists dead letters, grouped by their cause.
func (c *Console) letters(ctx context.Context, one *call) (page, error) {
	values := one.r.URL.Query()
	q := fleet.LetterQuery{Code: values.Get("code"), Kind: values.Get("kind"), Receiver: values.Get("receiver"), Limit: lettersGrouped}
	var err error
	if q.Since, err = since(values.Get("since"), one.fleet.Now()); err != nil {
		return page{}, err
	}
	found, err := one.fleet.DeadLetters(ctx, q)
	if err != nil {
		return page{}, err
	}
	visible, err := one.visible(ctx, found.Letters)
	if err != nil {
		return page{}, err
	}
	v := lettersView{}
	if found.More {
		v.Grouped = len(visible)
	}
	for _, cause := range fleet.Causes(visible) {
		v.Causes = append(v.Causes, causeRow{cause, "?" + url.Values{"numbers": {cause.Numbers}}.Encode()})
	}
	v.Path, v.Fields = "/dead-letters", []choice{{Name: "code", Label: "Code"}, {Name: "kind", Label: "Kind"}, {Name: "receiver", Label: "Receiver"}, {Name: "since", Label: "Since", Hint: "24h"}}
	filters := url.Values{}
	for i, field := range v.Fields {
		if v.Fields[i].Value = values.Get(field.Name); v.Fields[i].Value != "" {
			filters.Set(field.Name, v.Fields[i].Value)
		}
	}
	v.Any = len(filters) > 0
	v.All = "?" + url.Values{"all": {"yes"}}.Encode()
	if v.Any {
		v.All += "&" + filters.Encode()
	}
	return page{Template: "letters", Title: "Dead letters", Data: v.page(visible, values.Get("after"), filters)}, nil
}

// page lists the dead letters behind a number.
func (v lettersView) page(list []bus.DeadLetter, after string, filters url.Values) lettersView {
	if number, err := strconv.ParseUint(after, 10, 64); err == nil {
		list = slices.DeleteFunc(slices.Clone(list), func(d bus.DeadLetter) bool { return d.Number >= number })
		v.First = address("/dead-letters", filters, "")
	}
	for i := range list[:min(lettersOnPage, len(list))] {
		v.Letters = append(v.Letters, newLetterRow(&list[i]))
	}
	if len(list) > lettersOnPage {
		v.Next = address("/dead-letters", filters, strconv.FormatUint(list[lettersOnPage-1].Number, 10))
	}
	return v
}

// visible are those of a list of dead letters that the reader may see.
func (c *call) visible(ctx context.Context, list []bus.DeadLetter) ([]bus.DeadLetter, error) {
	if c.person == nil || c.person.Unlimited() && len(c.person.Classes) == 0 {
		return list, nil
	}
	var visible []bus.DeadLetter
	for i := range list {
		sees, err := c.person.Sees(ctx, c.fleet, &list[i])
		if err != nil {
			return nil, err
		}
		if sees {
			visible = append(visible, list[i])
		}
	}
	return visible, nil
}

// letterView is one dead letter.
type letterView struct {
	letterRow
	Problems []string
	Subject  string
	Payload  string // As it is stored, which is without secrets. Empty without a login.
}

// letter shows one dead letter.
func (c *Console) letter(ctx context.Context, one *call) (page, error) {
	number, err := strconv.ParseUint(one.r.PathValue("n"), 10, 64)
	if err != nil {
		return page{}, jobs.ErrNotFound
	}
	d, err := one.fleet.DeadLetter(ctx, number)
	if err != nil {
		return page{}, err
	}
	visible, err := one.visible(ctx, []bus.DeadLetter{d})
	if err == nil && len(visible) == 0 {
		err = jobs.ErrNotFound
	}
	v := letterView{letterRow: newLetterRow(&d), Problems: d.Problems, Subject: d.Subject}
	if one.person != nil {
		v.Payload = d.Payload
	}
	return page{Template: "letter", Title: fmt.Sprintf("Dead letter %d", number), Data: v}, err
}

// chosen are the dead letters of an act: those of the numbers, or all of a filter.
func (c *call) chosen(ctx context.Context) (list []bus.DeadLetter, more bool, err error) {
	texts := slices.Concat(c.r.URL.Query()["numbers"], c.r.PostForm["numbers"])
	f := fleet.LetterFilter{Code: c.field("code"), Kind: c.field("kind"), Receiver: c.field("receiver")}
	for text := range strings.FieldsSeq(strings.Join(texts, " ")) {
		span, err := fleet.ParseSpan(text)
		if err != nil {
			return nil, false, failed(http.StatusBadRequest, "Which dead letters?", err.Error())
		}
		f.Numbers = append(f.Numbers, span)
	}
	if f.Since, err = since(c.field("since"), c.fleet.Now()); err != nil {
		return nil, false, err
	}
	if len(f.Numbers) == 0 && c.field("all") == "" {
		return nil, false, failed(http.StatusBadRequest, "Which dead letters?", "Choose at least one.")
	}
	found, err := c.fleet.FindLetters(ctx, f)
	if err == nil {
		list, err = c.visible(ctx, found)
	}
	if err == nil && len(list) == 0 {
		err = failed(http.StatusNotFound, "Not found", "There are no such dead letters any more.")
	}
	return list[:min(lettersAtOnce, len(list))], len(list) > lettersAtOnce, err
}

// showLetters is what is shown before something is done to dead letters.
func (c *Console) showLetters(ctx context.Context, one *call, title, button, says string) (actView, error) {
	list, more, err := one.chosen(ctx)
	if err != nil {
		return actView{}, err
	}
	v := actView{Title: title, Button: button, Says: []string{says}, Back: "/dead-letters"}
	if more {
		v.Says = append(v.Says, fmt.Sprintf("More than %d are chosen: these are the latest of them, and the others stay.", lettersAtOnce))
	}
	numbers := make([]string, 0, len(list))
	for i := range list {
		v.Letters = append(v.Letters, newLetterRow(&list[i]))
		numbers = append(numbers, strconv.FormatUint(list[i].Number, 10))
	}
	v.Hidden = []fact{{"numbers", strings.Join(numbers, " ")}} // What was shown is what is done, whatever comes in between.
	return v, nil
}

func (c *Console) showReplay(ctx context.Context, one *call) (actView, error) {
	v, err := c.showLetters(ctx, one, "Replay dead letters", "Replay", "A job is retried, an event is published once more, a notification is sent again. What has succeeded meanwhile is not done again. The dead letters go.")
	if err != nil {
		return v, err
	}
	foresight, err := one.fleet.Foresee(ctx)
	if err != nil {
		return v, err
	}
	for i := range v.Letters {
		if v.Letters[i].Same, err = foresight.Same(ctx, v.Letters[i].Number); err != nil {
			return v, err
		}
	}
	return v, nil
}

func (c *Console) showDrop(ctx context.Context, one *call) (actView, error) {
	return c.showLetters(ctx, one, "Drop dead letters", "Drop", "The dead letters are deleted, and what they are about is not done. Who did that and why is recorded.")
}

func (c *Console) replay(ctx context.Context, one *call, op operation) (page, error) {
	return c.onLetters(ctx, one, "Replayed", func(ctx context.Context, number uint64) (string, error) {
		r, err := one.fleet.Replay(ctx, number, jobs.Operation{Action: jobs.ActionReplay, By: op.By, Reason: op.Reason})
		switch {
		case r.Nothing:
			return "had succeeded: nothing is done", err
		case r.Receiver != "":
			return "is sent again to " + r.Receiver, err
		case r.EventSeq != 0:
			return fmt.Sprintf("published as event %d", r.EventSeq), err
		}
		return "queued", err
	})
}

func (c *Console) drop(ctx context.Context, one *call, op operation) (page, error) {
	return c.onLetters(ctx, one, "Dropped", func(ctx context.Context, number uint64) (string, error) {
		return "dropped", one.fleet.Drop(ctx, number, jobs.Operation{Action: jobs.ActionDrop, By: op.By, Reason: op.Reason})
	})
}

// onLetters does something to each of the dead letters, and shows what became of them.
func (c *Console) onLetters(ctx context.Context, one *call, title string, do func(context.Context, uint64) (string, error)) (page, error) {
	list, _, err := one.chosen(ctx)
	if err != nil {
		return page{}, err
	}
	v := actView{Title: title, Back: "/dead-letters"}
	for i := range list {
		r := newLetterRow(&list[i])
		r.Result, err = do(ctx, r.Number)
		if err != nil {
			r.Result, r.Failed = cmp.Or(c.failureOf(one, err).Detail, err.Error()), true
		}
		v.Letters = append(v.Letters, r)
	}
	return page{Template: "act", Title: title, Data: v}, nil
}
