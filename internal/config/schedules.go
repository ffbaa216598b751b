package config

import (
	"errors"
	"fmt"
	"time"

	"rekey/internal/schedule"
)

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
