package schedule

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Window is a time in which a schedule does not fire: a change freeze, say. It comes once, from From to Until, or again
// and again, whenever Opens ticks.
type Window struct {
	// From and Until bound a window that comes once. Until is not a part of it.
	From, Until time.Time
	// Opens says when a repeating window opens.
	Opens Expr
	// For is how long it stays open, by the clock on the wall: from Friday 18:00 for 60 h is until Monday 06:00, also
	// when the clock is changed in between. For "@every" it is elapsed time. At most MaxWindow.
	For time.Duration
	// Move says that the last tick of the window fires at its end. Otherwise all of them are left out.
	Move bool
	// Reason is free text for people. It may be empty.
	Reason string
}

// MaxWindow is the longest that a repeating window stays open.
const MaxWindow = 31 * 24 * time.Hour

// wallSlack is more than by what a change of the clock, but that of a date line, may lengthen a window.
const wallSlack = 3 * time.Hour

// linkedWindows bounds how many windows that touch each other are taken for one.
const linkedWindows = 1000

// String says which window it is, for people.
func (w Window) String() string {
	if w.isRecurring() {
		return cmp.Or(w.Reason, fmt.Sprintf("%s for %s", w.Opens, w.For))
	}
	return cmp.Or(w.Reason, fmt.Sprintf("%s to %s", w.From.Format(time.RFC3339), w.Until.Format(time.RFC3339)))
}

func (w Window) isRecurring() bool { return w.Opens.every > 0 || w.Opens.fields != nil }

// Validate returns everything that is wrong with the window, joined.
func (w Window) Validate() error {
	switch {
	case w.isRecurring() && (!w.From.IsZero() || !w.Until.IsZero()):
		return errors.New("a window has either a beginning and an end, or an expression and a length")
	case w.isRecurring() && (w.For < time.Minute || w.For > MaxWindow):
		return fmt.Errorf("a window must be open for 1m to %s, not %s", MaxWindow, w.For)
	case w.isRecurring() && !w.closesEver():
		return errors.New("the window opens again before it is closed, so that the schedule could never fire")
	case !w.isRecurring() && !w.From.Before(w.Until):
		return errors.New("the window's end is not after its beginning")
	}
	return nil
}

// closesEver looks for a gap between one window and the next.
func (w Window) closesEver() bool {
	open := w.Opens.Next(time.Date(2024, time.January, 1, 0, 0, 0, 0, time.UTC))
	for range linkedWindows {
		next := w.Opens.Next(open)
		if next.IsZero() || next.After(w.closes(open)) {
			return true
		}
		open = next
	}
	return false
}

// closes returns the end of the window that opens at open.
func (w Window) closes(open time.Time) time.Time {
	if w.Opens.every > 0 {
		return open.Add(w.For)
	}
	wall := open.UTC().Add(offset(open.In(w.Opens.loc)))
	end, _ := firstInstant(wall.Add(w.For), w.Opens.loc)
	return end
}

// end returns when the window that is open at a moment closes, or the zero time when it is not open then.
func (w Window) end(at time.Time) time.Time {
	if !w.isRecurring() {
		if !at.Before(w.From) && at.Before(w.Until) {
			return w.Until.UTC()
		}
		return time.Time{}
	}
	var end time.Time
	for open := w.Opens.Next(at.Add(-w.For - wallSlack)); !open.IsZero() && !open.After(at); open = w.Opens.Next(open) {
		if closes := w.closes(open); closes.After(at) {
			end = later(end, closes)
		}
	}
	return end
}

// Blackout returns which window of spec is open at a moment, for people, and whether one is.
func (s Spec) Blackout(at time.Time) (window string, open bool) {
	w, _, open := s.blackout(at)
	if !open {
		return "", false
	}
	return w.String(), true
}

// blackout returns the window that is open at a moment and when the schedule may fire again: the end of that window, or
// of the last one of those that follow without a gap; zero if there is no end in sight. Of several windows, one that
// leaves ticks out counts more than one that moves them.
func (s Spec) blackout(at time.Time) (w Window, end time.Time, ok bool) {
	for _, candidate := range s.NotDuring {
		if e := candidate.end(at); !e.IsZero() && (!ok || w.Move && !candidate.Move) {
			w, end, ok = candidate, e, true
		}
	}
	if !ok {
		return w, end, false
	}
	for range linkedWindows {
		further := end
		for _, next := range s.NotDuring {
			further = later(further, next.end(end))
		}
		if further.Equal(end) {
			return w, end, true
		}
		end = further
	}
	return w, time.Time{}, true
}
