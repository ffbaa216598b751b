package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"rekey/internal/config"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
)

// maxReason bounds a reason, in bytes.
const maxReason = 1024

// ask makes what is shown before something is done, and do does it.
type (
	ask = func(*Console, context.Context, *call) (actView, error)
	do  = func(*Console, context.Context, *call, operation) (page, error)
)

// act is the route of something that a person does. It is shown before it is done, and asks for a reason.
func act(pattern string, may config.Permission, whole bool, show ask, perform do) route {
	return route{
		pattern: pattern, may: may, whole: whole,
		view: func(c *Console, ctx context.Context, one *call) (page, error) { return c.ask(ctx, one, show, "") },
		act:  func(c *Console, ctx context.Context, one *call) (page, error) { return c.act(ctx, one, show, perform) },
	}
}

// operation is who does something, and why.
type operation struct{ By, Reason string }

// actView is what is shown before something is done.
type actView struct {
	Title   string
	Says    []string // What it comes to.
	Facts   []fact
	Jobs    []row
	Letters []letterRow
	Hidden  []fact // Goes with the form.
	Button  string
	Back    string

	Action  string
	Reason  string
	Problem string
	By      string
}

func acts() []route {
	return []route{
		act("/jobs/{id}/cancel", config.MayCancel, false, (*Console).showCancel, onJob(jobs.ActionCancel, (*fleet.Client).Cancel)),
		act("/jobs/{id}/retry", config.MayRetry, false, (*Console).showRetry, onJob(jobs.ActionRetry, (*fleet.Client).Retry)),
		act("/jobs/{id}/stop-watch", config.MayOperate, false, (*Console).showStop, onJob(jobs.ActionStop, (*fleet.Client).StopWatch)),
		act("/dead-letters/replay", config.MayReplay, false, (*Console).showReplay, (*Console).replay),
		act("/dead-letters/drop", config.MayDrop, false, (*Console).showDrop, (*Console).drop),
		act("/schedules/{name}/run", config.MayOperate, true, (*Console).showSchedule, (*Console).runSchedule),
		act("/schedules/{name}/pause", config.MayOperate, true, (*Console).showSchedule, (*Console).pauseSchedule),
		act("/schedules/{name}/resume", config.MayOperate, true, (*Console).showSchedule, (*Console).pauseSchedule),
		act("/rotations/{name}/run", config.MayOperate, true, (*Console).showRun, (*Console).runRotation),
		act("/rotations/{name}/abandon", config.MayCancel, true, (*Console).showAbandon, (*Console).abandon),
		act("/receivers/{name}/test", config.MayOperate, true, (*Console).showReceiver, (*Console).testReceiver),
	}
}

// ask shows what is about to be done, and asks for a reason.
func (c *Console) ask(ctx context.Context, one *call, show ask, problem string) (page, error) {
	v, err := show(c, ctx, one)
	if err != nil {
		return page{}, err
	}
	v.Action, v.Problem, v.By = one.r.URL.Path, problem, one.person.Name
	if one.r.Method == http.MethodPost {
		v.Reason = one.r.PostForm.Get("reason")
	}
	return page{Template: "act", Title: v.Title, Data: v}, nil
}

// act does it.
func (c *Console) act(ctx context.Context, one *call, show ask, perform do) (page, error) {
	reason := strings.TrimSpace(one.r.PostForm.Get("reason"))
	problem := ""
	switch {
	case reason == "":
		problem = "A reason is required. It is recorded."
	case len(reason) > maxReason || !utf8.ValidString(reason) || strings.ContainsFunc(reason, unicode.IsControl):
		problem = "The reason must be one line of up to 1024 bytes."
	}
	if problem != "" {
		return c.ask(ctx, one, show, problem)
	}
	op := operation{By: one.person.Name, Reason: one.fleet.Discreet(reason)}
	p, err := perform(c, ctx, one, op)
	c.log.Info("done in the console", zap.String("by", op.By), zap.String("reason", op.Reason), zap.String("act", one.r.URL.Path), zap.Error(err))
	return p, err
}

// job is a job that the person may see.
func (c *call) job(ctx context.Context, id string) (jobs.PublicRecord, error) {
	record, err := c.fleet.Job(ctx, id)
	if err == nil && !c.sees(&record) {
		err = jobs.ErrNotFound // Whether there is one is not this person's business.
	}
	return record, err
}

// showJob is what is shown before something is done to a job.
func showJob(ctx context.Context, one *call, title, button string, says ...string) (actView, error) {
	record, err := one.job(ctx, one.r.PathValue("id"))
	return actView{
		Title: title, Says: says, Facts: facts("kind", string(record.Kind), "target", record.Target, "account", record.Account), Jobs: []row{newRow(&record)},
		Button: button, Back: "/jobs/" + record.JobID,
	}, err
}

func (c *Console) showCancel(ctx context.Context, one *call) (actView, error) {
	v, err := showJob(ctx, one, "Cancel a job", "Cancel the job", "The job ends before its next attempt. A call that is under way is not cut off, and what it does is not undone.",
		"The credential may be alive then, and no worker takes it away.")
	if record, err := one.job(ctx, one.r.PathValue("id")); err == nil && record.Rotation != nil {
		v.Says = abandonSays(record.RotationWords())
	}
	return v, err
}

func (c *Console) showRetry(ctx context.Context, one *call) (actView, error) {
	return showJob(ctx, one, "Retry a job", "Retry the job", "The job is queued once more, with all its attempts before it. The call that its kind makes is made again at the API.")
}

func (c *Console) showStop(ctx context.Context, one *call) (actView, error) {
	return showJob(ctx, one, "Stop a watch", "Stop the watch", "The target is not looked at any more. If it is back later, no worker notices.")
}

// done is where a job is shown after something was done to it.
func done(r jobs.PublicRecord, err error) (page, error) {
	if errors.Is(err, jobs.ErrAsked) {
		err = nil
	}
	return page{To: "/jobs/" + r.JobID}, err
}

// made is where a job is shown that was asked for.
func made(ctx context.Context, one *call, id string, err error) (page, error) {
	if err == nil {
		one.fleet.AwaitMade(ctx, id)
	} else if len(jobs.Mistakes(err)) > 0 {
		err = failed(http.StatusUnprocessableEntity, "The job is not accepted", err.Error())
	}
	return page{To: "/jobs/" + id}, err
}

// onJob does something to the job that the address names.
func onJob(action jobs.Action, act func(*fleet.Client, context.Context, string, jobs.Operation) (jobs.PublicRecord, error)) do {
	return func(_ *Console, ctx context.Context, one *call, op operation) (page, error) {
		record, err := one.job(ctx, one.r.PathValue("id"))
		if err != nil {
			return page{}, err
		}
		return done(act(one.fleet, ctx, record.JobID, jobs.Operation{Action: action, By: op.By, Reason: op.Reason}))
	}
}

// field is a field of the form, or of the address.
func (c *call) field(name string) string {
	return strings.TrimSpace(cmp.Or(c.r.PostForm.Get(name), c.r.URL.Query().Get(name)))
}
