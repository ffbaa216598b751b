package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/ledger"
)

// watchJobs prints the jobs that the filter chooses and then a line for every change, until
// ctx ends. That is how a watch is meant to end.
func (c *cli) watchJobs(ctx context.Context, filter ledger.Filter, begin moment) error {
	ctx, client, page, err := c.beginWatch(ctx, &filter, begin)
	if err != nil {
		return err
	}
	defer client.Close()
	w := jobWatch{cli: c, filter: filter, shown: map[string]bool{}}
	w.begin()
	for _, r := range page.Records {
		w.show(r)
	}
	err = client.FollowJobs(ctx, page.Revision, w.changed)
	if ctx.Err() != nil { // The operator has seen enough.
		return nil
	}
	return err
}

// beginWatch reads the list, which begins on the clock of the server. It is bounded as every question; what follows is not.
func (c *cli) beginWatch(ctx context.Context, filter *ledger.Filter, begin moment) (context.Context, *fleet.Client, ledger.Page, error) {
	ctx, client, err := c.dial(ctx)
	if err != nil {
		return ctx, nil, ledger.Page{}, err
	}
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	filter.Since = begin(c.now())
	page, err := client.Jobs(limited, *filter)
	if err != nil {
		client.Close()
	}
	return ctx, client, page, unanswered(ctx, limited, err)
}

// jobWatch prints jobs as they change.
type jobWatch struct {
	cli    *cli
	filter ledger.Filter
	shown  map[string]bool // Jobs that the reader takes for chosen.
}

// watchColumns are as wide as most of their values: a line that is out cannot be
// widened for the next one.
const watchColumns = "%-26s  %-19s  %-36s  %-6s  %-28s  %8v  %s\n"

func (w *jobWatch) begin() {
	if w.cli.output != outputJSON {
		w.line("JOB", "KIND", "TARGET", "LANE", "STATE", "ATTEMPTS", "ACCEPTED")
	}
}

// changed shows a job that the filter chooses, and once more one that it has chosen before.
func (w *jobWatch) changed(r jobs.PublicRecord) {
	switch chosen := w.filter.Chooses(&r); {
	case chosen:
		w.show(r)
	case w.shown[r.JobID]:
		w.show(r)
		delete(w.shown, r.JobID)
	}
}

func (w *jobWatch) show(r jobs.PublicRecord) {
	w.shown[r.JobID] = true
	if w.cli.output != outputJSON {
		w.line(r.JobID, r.Kind, shortTarget(r.Target), r.Lane, stateText(r, w.cli.now()), r.AttemptCount, r.AcceptedAt)
		return
	}
	encoder := json.NewEncoder(w.cli.stdout)
	encoder.SetEscapeHTML(false)
	// A record encodes: it was decoded. There is nothing to do when the reader is gone.
	_ = encoder.Encode(r)
}

func (w *jobWatch) line(cells ...any) {
	texts := make([]any, len(cells))
	for i, cell := range cells {
		texts[i] = text(cell)
	}
	fmt.Fprint(w.cli.stdout, strings.TrimRight(fmt.Sprintf(watchColumns, texts...), " "))
}
