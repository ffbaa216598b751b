package console

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"rekey/internal/config"
	"rekey/internal/jobs"
)

// maxReason bounds a reason, in bytes.
const maxReason = 1024

// act is something that a person does. It is shown before it is done, and asks for a reason.
type act struct {
	pattern string
	may     config.Permission
	whole   bool
	show    func(*Console, context.Context, *call) (actView, error)
	do      func(*Console, context.Context, *call, operation) (page, string, error)
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

func acts() []act {
	return []act{
		{"/jobs/{id}/cancel", config.MayCancel, false, (*Console).showCancel, (*Console).cancel},
		{"/jobs/{id}/retry", config.MayRetry, false, (*Console).showRetry, (*Console).retry},
		{"/jobs/{id}/stop-watch", config.MayOperate, false, (*Console).showStop, (*Console).stopWatch},
		{"/dead-letters/replay", config.MayReplay, false, (*Console).showReplay, (*Console).replay},
		{"/dead-letters/drop", config.MayDrop, false, (*Console).showDrop, (*Console).drop},
		{"/schedules/{name}/run", config.MayOperate, true, (*Console).showSchedule, (*Console).runSchedule},
		{"/schedules/{name}/pause", config.MayOperate, true, (*Console).showSchedule, (*Console).pauseSchedule},
		{"/schedules/{name}/resume", config.MayOperate, true, (*Console).showSchedule, (*Console).pauseSchedule},
		{"/rotations/{name}/run", config.MayOperate, true, (*Console).showRun, (*Console).runRotation},
		{"/rotations/{name}/abandon", config.MayCancel, true, (*Console).showAbandon, (*Console).abandon},
		{"/receivers/{name}/test", config.MayOperate, true, (*Console).showReceiver, (*Console).testReceiver},
	}
}

// ask shows what is about to be done, and asks for a reason.
func (c *Console) ask(one *call, a act, problem string) (page, error) {
	ctx, cancel := one.within()
	defer cancel()
	v, err := a.show(c, ctx, one)
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
func (c *Console) act(one *call, a act) (page, string, error) {
	reason := strings.TrimSpace(one.r.PostForm.Get("reason"))
	problem := ""
	switch {
	case reason == "":
		problem = "A reason is required. It is recorded."
	case len(reason) > maxReason || !utf8.ValidString(reason) || strings.ContainsFunc(reason, unicode.IsControl):
		problem = "The reason must be one line of up to 1024 bytes."
	}
	if problem != "" {
		p, err := c.ask(one, a, problem)
		return p, "", err
	}
	op := operation{By: one.person.Name, Reason: one.fleet.Discreet(reason)}
	ctx, cancel := one.within()
	defer cancel()
	p, to, err := a.do(c, ctx, one, op)
	c.log.Info("done in the console", zap.String("by", op.By), zap.String("reason", op.Reason), zap.String("act", one.r.URL.Path), zap.Error(err))
	return p, to, err
}

// job is the job of an act, if the person may see it.
func (c *call) job(ctx context.Context) (jobs.PublicRecord, error) {
	record, err := c.fleet.Job(ctx, c.r.PathValue("id"))
	if err == nil && !c.sees(&record) {
		err = jobs.ErrNotFound // Whether there is one is not this person's business.
	}
	return record, err
}

// showJob is what is shown before something is done to a job.
func showJob(ctx context.Context, one *call, title, button string, says ...string) (actView, error) {
	record, err := one.job(ctx)
	return actView{
		Title: title, Says: says, Facts: facts("kind", string(record.Kind), "target", record.Target, "account", record.Account), Jobs: []row{newRow(&record)},
		Button: button, Back: "/jobs/" + record.JobID,
	}, err
}

func (c *Console) showCancel(ctx context.Context, one *call) (actView, error) {
	v, err := showJob(ctx, one, "Cancel a job", "Cancel the job", "The job ends before its next attempt. A call that is under way is not cut off, and what it does is not undone.",
		"The credential may be alive then, and no worker takes it away.")
	if record, err := one.job(ctx); err == nil && record.Rotation != nil {
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
func done(r jobs.PublicRecord, err error) (page, string, error) {
	return page{}, "/jobs/" + r.JobID, err
}

// made is where a job is shown that was asked for.
func made(ctx context.Context, one *call, id string, err error) (page, string, error) {
	if err == nil {
		one.fleet.AwaitMade(ctx, id)
	}
	return page{}, "/jobs/" + id, err
}

func (c *Console) cancel(ctx context.Context, one *call, op operation) (page, string, error) {
	record, err := one.job(ctx)
	if err != nil {
		return page{}, "", err
	}
	return done(one.fleet.Cancel(ctx, record.JobID, jobs.Operation{Action: jobs.ActionCancel, By: op.By, Reason: op.Reason}))
}

func (c *Console) retry(ctx context.Context, one *call, op operation) (page, string, error) {
	record, err := one.job(ctx)
	if err != nil {
		return page{}, "", err
	}
	return done(one.fleet.Retry(ctx, record.JobID, jobs.Operation{Action: jobs.ActionRetry, By: op.By, Reason: op.Reason}))
}

func (c *Console) stopWatch(ctx context.Context, one *call, op operation) (page, string, error) {
	record, err := one.job(ctx)
	if err != nil {
		return page{}, "", err
	}
	return done(one.fleet.StopWatch(ctx, record.JobID, jobs.Operation{Action: jobs.ActionStop, By: op.By, Reason: op.Reason}))
}

// field is a field of the form, or of the address.
func (c *call) field(name string) string {
	return strings.TrimSpace(cmp.Or(c.r.PostForm.Get(name), c.r.URL.Query().Get(name)))
}
