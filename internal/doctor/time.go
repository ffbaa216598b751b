package doctor

import (
	"fmt"
	"time"
)

// Skew is what was seen of another clock.
type Skew struct {
	// Sent and Got are when we asked and had the answer.
	Sent, Got time.Time
	// There is the other clock's time in between, to the next step of Step below.
	There time.Time
	Step  time.Duration
}

// least is how far the clocks are apart at least: positive when ours is behind.
func (s Skew) least() time.Duration {
	if ahead := s.There.Sub(s.Got); ahead > 0 {
		return ahead
	}
	if behind := s.There.Add(s.Step).Sub(s.Sent); behind < 0 {
		return behind
	}
	return 0
}

// Judge compares our clock with that of whose, and warns from limit on.
func (s Skew) Judge(whose string, limit time.Duration, meaning string) Finding {
	f := Finding{What: "clock", Status: OK, Found: "agrees with " + whose}
	off := s.least()
	direction := "behind"
	if off < 0 {
		direction, off = "ahead of", -off
	}
	if off >= time.Second {
		f.Found = fmt.Sprintf("%s %s %s", off.Round(time.Second), direction, whose)
	}
	if off > limit {
		f.Status, f.Do = Warning, "synchronise the clock of this machine (timedatectl status): "+meaning
	}
	return f
}

// expirySoon is how long before its end something is to be renewed.
const expirySoon = 14 * 24 * time.Hour

// Expiry judges when something ends. The zero time is not known.
func Expiry(what string, at, now time.Time, renew string) Finding {
	f := Finding{What: what, Status: OK, Found: "until " + at.UTC().Format("2006-01-02 15:04 MST")}
	switch left := at.Sub(now); {
	case at.IsZero():
		f.Status, f.Found = Skipped, "not known"
	case left <= 0:
		f.Status, f.Found, f.Do = Failed, "ended on "+at.UTC().Format("2006-01-02 15:04 MST"), renew
	case left < expirySoon:
		f.Status, f.Do = Warning, renew
		f.Found += fmt.Sprintf(", in %d days", int(left.Hours()/24))
	}
	return f
}
