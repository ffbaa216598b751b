package console

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/terminal"
)

// rotationRow is a rotation and its latest job.
type rotationRow struct {
	Name string
	Job  *row // Nil: it has not run yet.
	Now  *jobs.Rotation
}

// rotations lists the rotations.
func (c *Console) rotations(ctx context.Context, one *call) (page, error) {
	found, err := one.fleet.Rotations(ctx)
	v := struct{ Rotations []rotationRow }{}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		r := rotationRow{Name: name}
		if record := found[name]; record != nil {
			job := newRow(record)
			r.Job, r.Now = &job, record.Rotation
		}
		v.Rotations = append(v.Rotations, r)
	}
	return page{Template: "rotations", Title: "Rotations", Data: v}, err
}

// rotation is the latest job of the rotation that the address names; nil: it has not run yet.
func (c *call) rotation(ctx context.Context) (*jobs.PublicRecord, error) {
	found, err := c.fleet.Rotations(ctx)
	record, known := found[c.r.PathValue("name")]
	if err == nil && !known {
		err = jobs.ErrNotFound
	}
	return record, err
}

// showRotation is what is shown before something is done to a rotation: what it rotates, and the stores that the new one goes to.
func showRotation(ctx context.Context, one *call, title, button string) (v actView, words kinds.Words, latest *jobs.PublicRecord, err error) {
	latest, err = one.rotation(ctx)
	v = actView{Title: title, Button: button, Back: "/rotations", Facts: facts("rotation", one.r.PathValue("name"))}
	for _, r := range one.config.Rotations {
		if r.Name != one.r.PathValue("name") {
			continue
		}
		_, subject := r.Rotated()
		words = kinds.Of(r.Kind()).Rotates.Words
		v.Facts = append(v.Facts, facts(words.Subject, subject, "account", r.Account, "old one unused for", terminal.Took(r.QuietFor))...)
		for _, store := range r.Deliver {
			v.Facts = append(v.Facts, fact{"store", store.Place()})
		}
	}
	if latest != nil && !latest.Done() {
		v.Jobs = []row{newRow(latest)}
	}
	return v, words, latest, err
}

func (c *Console) showRun(ctx context.Context, one *call) (actView, error) {
	v, words, _, err := showRotation(ctx, one, "Run a rotation now", "Run it")
	v.Says = []string{
		fmt.Sprintf("A new %s is made, and every store gets it.%s", words.One, cut(words, " The life of the old one is cut to a week then.")),
		"When the users of the old one have moved to the new one, the old one is deleted.",
	}
	if len(v.Jobs) > 0 {
		v.Says = []string{fmt.Sprintf("This rotation is unfinished. The request joins its job, and no second %s is made.", words.One)}
	}
	return v, err
}

// abandonSays is what it comes to that a rotation is abandoned.
func abandonSays(words kinds.Words) []string {
	return []string{
		fmt.Sprintf("Where the old %s is shown to work, the stores get it back, and the new %s is deleted.%s", words.One, words.One, cut(words, " The life of the old one stays cut to a week.")),
		fmt.Sprintf("Where that cannot be shown, and once the old one is being deleted, the rotation goes on. A rotation that has not asked for a new %s yet just ends.", words.One),
	}
}

// cut is what is said of the old one's life where that is cut.
func cut(words kinds.Words, says string) string {
	if words.Cut {
		return says
	}
	return ""
}

func (c *Console) showAbandon(ctx context.Context, one *call) (actView, error) {
	v, words, latest, err := showRotation(ctx, one, "Abandon a rotation", "Abandon it")
	if v.Says = abandonSays(words); err == nil && (latest == nil || latest.Done()) {
		err = failed(http.StatusConflict, "There is nothing to do", "No job of this rotation is unfinished.")
	}
	return v, err
}

func (c *Console) runRotation(ctx context.Context, one *call, op operation) (page, error) {
	if _, err := one.rotation(ctx); err != nil {
		return page{}, err
	}
	id, err := one.fleet.RunRotation(ctx, one.r.PathValue("name"), jobs.Operation{By: op.By, Reason: op.Reason})
	return made(ctx, one, id, err)
}

func (c *Console) abandon(ctx context.Context, one *call, op operation) (page, error) {
	latest, err := one.rotation(ctx)
	if err != nil || latest == nil {
		return page{}, cmp.Or(err, jobs.ErrNotFound)
	}
	return done(one.fleet.Cancel(ctx, latest.JobID, jobs.Operation{Action: jobs.ActionCancel, By: op.By, Reason: op.Reason}))
}

// steps are those of a rotation; nil: the job is none.
func steps(job *jobs.PublicRecord) []entry {
	if job.Rotation == nil {
		return nil
	}
	var list []entry
	for _, s := range job.Rotation.Steps {
		one := entry{At: s.BeganAt, What: "Step: " + string(s.Step), Means: terminal.Good, Text: s.Says}
		switch {
		case !s.EndedAt.IsZero():
			one.Facts = facts("took", terminal.Took(s.EndedAt.Sub(s.BeganAt)))
		case job.Done():
			one.Means, one.Text = terminal.Worth, "the job ended before this step was over: "+s.Will
		default:
			one.Means, one.Text = terminal.Worth, "under way: "+s.Will
		}
		list = append(list, one)
	}
	return list
}

// rotationFacts are how far a rotation is.
func rotationFacts(job *jobs.PublicRecord) []fact {
	r, words := job.Rotation, job.RotationWords()
	if r == nil {
		return nil
	}
	return facts("Rotation", r.Name, "Rotates", words.Subject+" "+r.Subject, "Step", string(r.Step), "Waits for", r.Waits, "Old "+words.One, r.OldID, "New "+words.One, r.NewID,
		"Delivered to", strings.Join(r.Stores, ", "))
}
