package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/schedule"
)

// Schedule makes a job at the ticks of a cron expression.
type Schedule struct {
	// Name is unique: lower-case letters, digits, - and _, at most 64. It is the schedule's
	// identity: under another name it has no memory of what it fired.
	Name string `yaml:"name"`
	// Cron has five fields, or is a word like @daily, or @every with a duration.
	Cron string `yaml:"cron"`
	// TimeZone is the IANA name of the clock that Cron goes by. Default and empty: UTC.
	TimeZone string `yaml:"time_zone"`
	// Jitter is the most by which a tick is fired late, so that not all fire at once: up to 24h. Default 0, none.
	Jitter time.Duration `yaml:"jitter"`
	// Missed is what becomes of ticks that no worker was there for: skip, once (default and empty) or all.
	Missed schedule.Missed `yaml:"missed"`
	// MaxLate is the age up to which missed ticks are made up for: 1s to 8760h. Default 24h.
	MaxLate time.Duration `yaml:"max_late"`
	// Overlap is what becomes of a tick while the schedule's last job is not done: allow (default and empty), skip or queue.
	Overlap schedule.Overlap `yaml:"overlap"`
	// NotDuring are times in which nothing fires. Default none.
	NotDuring []Window `yaml:"not_during"`
	Job       Job      `yaml:"job"`
}

// Window is a time in which a schedule does not fire: either From and Until are set, or Cron and For.
type Window struct {
	// From and Until bound a window that comes once, as "2026-12-18", "2026-12-18 18:00" (both by the schedule's clock) or
	// RFC 3339. Until is not a part of it.
	From  Moment `yaml:"from"`
	Until Moment `yaml:"until"`
	// Cron says when a repeating window opens, by the schedule's clock; see Schedule.Cron.
	Cron string `yaml:"cron"`
	// For is how long it stays open, by that clock: 1m to 744h.
	For time.Duration `yaml:"for"`
	// Ticks says what becomes of the ticks in the window: TicksSkip (default and empty) or TicksMove.
	Ticks string `yaml:"ticks"`
	// Reason is free text of up to 1024 bytes, shown to operators. Default empty.
	Reason string `yaml:"reason"`
}

// What becomes of the ticks in a window.
const (
	TicksSkip = "skip" // They are left out.
	TicksMove = "move" // The last of them fires at the end of the window.
)

// Moment is a date, with or without a time.
type Moment string

// Job is what a schedule asks for; the fields are those of an event.
type Job struct {
	// Kind is the kind of the job. Required.
	Kind jobs.Kind `yaml:"kind"`
	// Account is the name of one of Atlas.Accounts. It may be empty when there is only one.
	Account string `yaml:"account"`
	// Params are the parameters of the kind, validated. Secret ones are not accepted here.
	Params map[string]string `yaml:"params"`
	// Lane is urgent, normal or bulk. Empty, the default, leaves it to the class of the event (normal).
	Lane jobs.Lane `yaml:"lane"`
	// Reason is free text of up to 1024 bytes, shown in results. Default empty.
	Reason string `yaml:"reason"`
	// RequestedBy is free text of up to 1024 bytes, shown in results. Default empty.
	RequestedBy string `yaml:"requested_by"`
}

// setDefaults prepares a schedule for what the file says about it.
func (s *Schedule) setDefaults() {
	s.TimeZone, s.Missed, s.MaxLate, s.Overlap = "UTC", schedule.MissedOnce, 24*time.Hour, schedule.OverlapAllow
}

// Spec turns a configured schedule into one that runs. The error names the key.
func (s *Schedule) Spec() (schedule.Spec, error) {
	expr, err := schedule.Parse(s.Cron, s.TimeZone)
	if err != nil {
		return schedule.Spec{}, fmt.Errorf("schedule %s: cron: %w", s.Name, err)
	}
	spec := schedule.Spec{
		Name: s.Name, Expr: expr, Jitter: s.Jitter, Missed: s.Missed, MaxLate: s.MaxLate, Overlap: s.Overlap,
	}
	for i, w := range s.NotDuring {
		window, _, err := w.window(s.TimeZone)
		if err != nil {
			return schedule.Spec{}, fmt.Errorf("schedule %s: not_during[%d]: %w", s.Name, i, err)
		}
		spec.NotDuring = append(spec.NotDuring, window)
	}
	return spec, nil
}

// window turns the window of a schedule into one that runs. With an error comes the key that it is about.
func (w Window) window(zone string) (out schedule.Window, key string, err error) {
	out = schedule.Window{For: w.For, Move: w.Ticks == TicksMove, Reason: w.Reason}
	switch dates, cron := w.From != "" || w.Until != "", w.Cron != "" || w.For != 0; {
	case dates && cron:
		return out, "", errors.New("takes either from and until, or cron and for")
	case w.Cron != "":
		if out.Opens, err = schedule.Parse(w.Cron, zone); err != nil {
			return out, "cron", err
		}
		return out, "for", out.Validate()
	case cron:
		return out, "cron", errors.New("is required beside for")
	}
	if out.From, err = parseMoment(w.From, zone); err != nil {
		return out, "from", err
	}
	if out.Until, err = parseMoment(w.Until, zone); err != nil {
		return out, "until", err
	}
	return out, "until", out.Validate()
}

// parseMoment reads a date by the clock of a zone.
func parseMoment(text Moment, zone string) (time.Time, error) {
	if text == "" {
		return time.Time{}, errors.New("is required, unless the window has cron and for")
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return time.Time{}, err
	}
	if at, err := time.Parse(time.RFC3339, string(text)); err == nil {
		return at.UTC(), nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", "2006-01-02T15:04", time.DateTime, "2006-01-02T15:04:05"} {
		if at, err := time.ParseInLocation(layout, string(text), loc); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, errors.New("must be a date such as 2026-12-18, \"2026-12-18 18:00\" or 2026-12-18T18:00:00+01:00")
}

// windows checks not_during.
func (c *checker) windows(path string, s Schedule) {
	if _, err := time.LoadLocation(s.TimeZone); err != nil {
		s.TimeZone = "UTC" // It is reported as it is.
	}
	for i, w := range s.NotDuring {
		at := item(join(path, "not_during"), i)
		if c.spoilt[at] {
			continue
		}
		c.oneOf(join(at, "ticks"), w.Ticks, TicksSkip, TicksMove)
		if len(w.Reason) > maxTextBytes {
			c.add(join(at, "reason"), "has %d bytes; the limit is %d", len(w.Reason), maxTextBytes)
		}
		if c.anySpoilt(join(at, "from"), join(at, "until"), join(at, "cron"), join(at, "for")) {
			continue
		}
		if _, key, err := w.window(s.TimeZone); err != nil {
			if key != "" {
				at = join(at, key)
			}
			c.add(at, "%s", oneLine(err))
		}
	}
}

// maxTextBytes bounds the free texts of a job, as it does in events.
const maxTextBytes = 1024

func (c *checker) schedules() {
	taken := map[string]int{}
	for i, s := range c.cfg.Schedules {
		path := item("schedules", i)
		if c.spoilt[path] {
			continue
		}
		c.name(path, s.Name, taken)
		c.expression(path, s.Cron, s.TimeZone)
		c.duration(join(path, "jitter"), s.Jitter, 0, 24*time.Hour)
		c.oneOf(join(path, "missed"), string(s.Missed),
			string(schedule.MissedSkip), string(schedule.MissedOnce), string(schedule.MissedAll))
		c.duration(join(path, "max_late"), s.MaxLate, time.Second, 365*24*time.Hour)
		c.oneOf(join(path, "overlap"), string(s.Overlap),
			string(schedule.OverlapAllow), string(schedule.OverlapSkip), string(schedule.OverlapQueue))
		c.windows(path, s)
		c.job(join(path, "job"), s.Job)
	}
}

// expression checks cron and time_zone, apart from each other as far as that is possible.
func (c *checker) expression(path, cron, zone string) {
	if _, err := schedule.Parse("@daily", zone); err != nil {
		c.add(join(path, "time_zone"), "must be a time zone that this machine knows by its IANA name, such as Europe/Berlin or UTC")
		zone = "UTC"
	}
	path = join(path, "cron")
	if cron == "" {
		c.add(path, "is required: five fields such as \"0 3 * * 0\", a word such as @daily, or @every 6h")
		return
	}
	if _, err := schedule.Parse(cron, zone); err != nil {
		c.add(path, "%s", oneLine(err))
	}
}

// oneLine writes joined errors in a line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func (c *checker) job(path string, j Job) {
	if c.spoilt[path] {
		return
	}
	if !c.has(path) {
		c.add(path, "is required")
		return
	}
	if kinds.Of(j.Kind).Rotates == nil {
		c.account(join(path, "account"), j.Account)
	} else {
		c.rotationOf(path, j)
	}
	if _, err := jobs.ParseLane(string(j.Lane)); err != nil && j.Lane != "" {
		c.add(join(path, "lane"), "%s", err)
	}
	for name, text := range map[string]string{"reason": j.Reason, "requested_by": j.RequestedBy} {
		if len(text) > maxTextBytes {
			c.add(join(path, name), "has %d bytes; the limit is %d", len(text), maxTextBytes)
		}
	}
	if j.Kind == "" {
		c.add(join(path, "kind"), "is required; the kinds are %s", strings.Join(jobs.Names(jobs.Kinds()), ", "))
		return
	}
	kind, err := jobs.ParseKind(string(j.Kind))
	if err != nil {
		c.add(join(path, "kind"), "%s", err)
		return
	}
	if !c.spoilt[join(path, "params")] {
		c.params(path, kind, j.Params)
	}
}

// params checks the parameters of a job with the same code that checks those of an event.
func (c *checker) params(path string, kind jobs.Kind, params map[string]string) {
	raw := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		at := join(join(path, "params"), showKey(name))
		p, suffix, known := kinds.Of(kind).Param(name)
		switch {
		case known && p.Secret && suffix == "":
			c.add(at, "secrets are never written here: use %s", name+kinds.SuffixFile)
			// Then the secret is not missing as well.
			c.spoil(join(path, "params"))
		case known:
			raw[name] = params[name]
		default:
			c.unknownParam(join(path, "params"), name, kind)
		}
	}
	_, err := jobs.NewParams(kind, raw)
	for _, mistake := range flatten(err) {
		c.add(join(path, mistake.Field), "%s", mistake.Detail)
	}
}

// unknownParam reports a parameter that the kind does not have. The one that was probably
// meant counts as set.
func (c *checker) unknownParam(path, name string, kind jobs.Kind) {
	known := kinds.Of(kind).ParamNames()
	at := join(path, showKey(name))
	if meant := closest(name, known); meant != "" {
		c.add(at, "unknown parameter; did you mean %s?", meant)
		c.spoil(path, join(path, meant))
		return
	}
	c.add(at, "unknown parameter; %s takes %s", kind, strings.Join(known, ", "))
}

// several is an error that joins others.
type several interface {
	error
	Unwrap() []error
}

// flatten takes joined mistakes apart.
func flatten(err error) []*jobs.Malformed {
	if err == nil {
		return nil
	}
	if joined, ok := errors.AsType[several](err); ok {
		var all []*jobs.Malformed
		for _, part := range joined.Unwrap() {
			all = append(all, flatten(part)...)
		}
		return all
	}
	if mistake, ok := errors.AsType[*jobs.Malformed](err); ok {
		return []*jobs.Malformed{mistake}
	}
	return []*jobs.Malformed{{Field: "params", Detail: err.Error()}}
}
