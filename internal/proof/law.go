package proof

import (
	"slices"
	"time"

	"rekey/internal/jobs"
	"rekey/internal/kinds"
)

// firstLooks is when a target is looked at after the API answered, at first. Later looks are a minute apart, or a fifteenth of
// the time since the answer where that is longer.
var firstLooks = []time.Duration{0, 2 * time.Second, 5 * time.Second, 15 * time.Second, time.Minute}

const (
	// leastApart keeps two looks apart where the first one took long.
	leastApart = time.Second
	// lookShare is the part of the time since the answer after which the next look follows.
	lookShare = 15
)

// nextLook is when the target is looked at after a look, both counted from the API's answer. The last look is that at within.
func nextLook(after, within time.Duration) time.Duration {
	next := after + max(time.Minute, after/lookShare)
	for _, at := range firstLooks {
		if at >= after+leastApart {
			next = at
			break
		}
	}
	if after < within {
		next = min(next, within)
	}
	return next
}

// nextWatch is when a watched target is looked at after a look, both counted from the success: at the looks, then each time the
// last of them has passed again. It is 0 when the watch is over.
func nextWatch(after, watch time.Duration, looks []time.Duration) time.Duration {
	if after >= watch || len(looks) == 0 {
		return 0
	}
	for _, at := range looks {
		if at > after {
			return min(at, watch)
		}
	}
	last := looks[len(looks)-1]
	return min(after/last*last+last, watch)
}

// works reports whether a check shows that the target works.
func works(checks []kinds.Check, shown map[string]kinds.Shows) bool {
	return slices.ContainsFunc(checks, func(c kinds.Check) bool { return shown[c.Name] == kinds.ShowsAlive })
}

// conclude is the verdict on what the checks of a kind show. recorded says that the API's event log has the change, and awaited
// that it may have it later. over ends the wait: then the best that is known is the verdict.
func conclude(checks []kinds.Check, shown map[string]kinds.Shows, recorded, awaited, over bool) jobs.Verdict {
	dead, alive, open := len(checks) > 0, false, awaited && !recorded
	for _, c := range checks {
		switch shown[c.Name] {
		case kinds.ShowsDead:
			continue
		case kinds.ShowsAlive: // The API may lag behind what it answered.
			alive, open = true, true
		case kinds.ShowsNothing:
		case kinds.ShowsPending, "":
			open = true
		}
		dead = false
	}
	switch {
	case dead:
		return jobs.VerdictVerified
	case open && !over:
		return jobs.VerdictPending
	case alive:
		return jobs.VerdictStillAlive
	case recorded:
		return jobs.VerdictRecorded
	}
	return jobs.VerdictAccepted
}
