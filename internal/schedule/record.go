package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rekey/internal/jobs"

	"go.uber.org/zap"
)

// errUnread says that it is not known what the store has.
var errUnread = errors.New("loading the state")

// change applies alter to the stored state and saves it if alter reports a change, again after a conflict.
// fresh tells alter that the schedule begins with this state. While workers with an old and a new configuration run side
// by side, the new one keeps the record: then alter gets a state of the worker's own, and nothing is saved.
func (r *runner) change(ctx context.Context, alter func(s *State, fresh bool) (changed bool)) error {
	return r.changeFrom(ctx, false, alter)
}

// changeFrom is change, for the first time (opening) or later.
func (r *runner) changeFrom(ctx context.Context, opening bool, alter func(s *State, fresh bool) (changed bool)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, storeLimit, fmt.Errorf("no answer within %s", storeLimit))
	defer cancel()
	for range saveAttempts {
		stored, revision, err := r.store.Load(ctx, r.spec.Name)
		if err != nil {
			return fmt.Errorf("%w: %w", errUnread, err)
		}
		state, whose := r.mine(stored, opening)
		if !alter(&state, whose == ownershipFresh) || whose == ownershipOthers {
			return nil
		}
		if _, err = r.store.Save(ctx, r.spec.Name, state, revision); !errors.Is(err, jobs.ErrConflict) {
			return err
		}
	}
	return jobs.ErrConflict
}

// ownership says to which configuration a stored state belongs.
type ownership int

const (
	ownershipOurs   ownership = iota // It belongs to the schedule as we have it.
	ownershipFresh                   // There is none for it.
	ownershipOthers                  // It is of another configuration that came after ours.
)

// mine returns the state to go on with. A schedule that was removed starts afresh when it is taken up again; while we run
// it, it is not removed, but another worker does not know that yet.
func (r *runner) mine(stored State, opening bool) (State, ownership) {
	fingerprint := r.spec.Expr.fingerprint()
	fresh := stored.afresh(fingerprint, r.since, later(r.since, r.cursor))
	switch {
	case stored.Fingerprint == fingerprint && !stored.Settled.IsZero() && (stored.Removed.IsZero() || !opening):
		stored.Removed = time.Time{}
		return stored.notAhead(r.now()), ownershipOurs
	case stored.Fingerprint != fingerprint && stored.Since.After(r.since):
		return fresh, ownershipOthers
	}
	return fresh, ownershipFresh
}

// decide returns what is to become of the tick. The first worker to save its verdict decides for all of them, so that
// none fires what another one leaves out. A delay says that it is too early for a verdict.
func (r *runner) decide(ctx context.Context, tick Tick) (verdict Verdict, delay time.Duration, err error) {
	var detail string
	var failure error
	decided := false
	err = r.change(ctx, func(s *State, _ bool) bool {
		decided = false
		if verdict = r.known(tick, s); verdict != "" {
			r.observe(s)
			return false
		}
		if verdict, delay, detail, failure = r.judge(ctx, tick, s); failure != nil || verdict == verdictWait {
			return false
		}
		decided, r.firing = true, tick.At
		s.decide(tick, verdict, r.fire.Job(tick), r.now())
		r.observe(s)
		return true
	})
	switch {
	case failure != nil:
		return "", 0, failure
	case err != nil && (verdict != VerdictFiring || ctx.Err() != nil || errors.Is(err, jobs.ErrConflict) || errors.Is(err, errUnread)):
		return "", 0, err
	case err != nil:
		// A store that takes no writes must not keep the schedule from firing. The worst that comes of it is that
		// another worker leaves the tick out.
		r.complainOfStore(err)
	case verdict == VerdictFiring && !decided && !tick.At.Equal(r.firing):
		// Another worker is firing it, or was lost while it did.
		if wait := tick.Due.Add(othersTurn).Sub(r.now()); wait > 0 {
			return verdictWait, wait, nil
		}
	case decided && verdict != VerdictFiring && verdict != VerdictFired:
		r.metrics.ScheduleSkipped(r.spec.Name, string(verdict))
		r.log.Info("tick skipped", zap.Time("tick", tick.At), zap.String("reason", string(verdict)), zap.String("detail", detail))
	}
	return verdict, delay, nil
}

// known returns what was decided about the tick. A tick that is on time is only taken for settled when the very decision
// is there: a worker whose clock is ahead may have passed over it when it started.
func (r *runner) known(tick Tick, s *State) Verdict {
	v := s.verdict(tick.At)
	if v == "" && !tick.At.After(s.Settled) && r.now().Sub(tick.Due) > onTime {
		return verdictSettled
	}
	return v
}

// judge decides about a tick that no worker has decided about.
func (r *runner) judge(ctx context.Context, tick Tick, s *State) (v Verdict, delay time.Duration, detail string, err error) {
	now := r.now()
	if s.pausedAt(tick.Due) {
		return VerdictPaused, 0, s.Pause.By + ": " + s.Pause.Reason, nil
	}
	if tick.Skip {
		return VerdictBlackout, 0, tick.Blackout, nil
	}
	// A tick that is late must not fire in a window either.
	if w, end, in := r.spec.blackout(now); in {
		if !w.Move || end.IsZero() {
			return VerdictBlackout, 0, w.String(), nil
		}
		return verdictWait, min(end.Sub(now), longestSleep), w.String(), nil
	}
	if r.spec.Overlap == OverlapAllow || s.LastJob == "" {
		return VerdictFiring, 0, "", nil
	}
	unfinished, err := r.jobs.Unfinished(ctx, s.LastJob, s.LastJobAt)
	switch {
	case err != nil:
		return "", 0, "", fmt.Errorf("looking up the last job, %s: %w", s.LastJob, err)
	case !unfinished:
		return VerdictFiring, 0, "", nil
	case r.spec.Overlap == OverlapSkip:
		return VerdictOverlap, 0, "job " + s.LastJob + " is not done", nil
	}
	return verdictWait, queuePoll, "", nil
}

// save tells the store which ticks have fired. If it does not answer, they stay unsaved until the next tick or look; the
// worst that comes of it is a tick that fires again.
func (r *runner) save(ctx context.Context) {
	// What has fired is to be on record even if the worker began to stop meanwhile.
	err := r.change(context.WithoutCancel(ctx), func(s *State, _ bool) bool {
		s.keep(r.keeper, r.spec.MaxLate, r.now())
		changed := len(r.unsaved) == 0 // Then all that is to be saved is that the schedule is not removed, and who has it.
		for _, tick := range r.unsaved {
			if s.verdict(tick.At) != VerdictFired {
				s.decide(tick, VerdictFired, "", r.now())
				changed = true
			}
		}
		r.observe(s)
		return changed
	})
	if err != nil {
		r.complainOfStore(err)
		return
	}
	r.unsaved = nil
}

// complainOfStore logs that the store fails, once until it has taken everything.
func (r *runner) complainOfStore(err error) {
	if len(r.unsaved) <= 1 {
		r.log.Warn("saving the state of a schedule", zap.Error(err))
	}
}

// refresh looks at what other workers and operators have done, and saves what could not be saved before.
func (r *runner) refresh(ctx context.Context) {
	if len(r.unsaved) > 0 {
		r.save(ctx)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	stored, _, err := r.store.Load(ctx, r.spec.Name)
	if err != nil {
		return // The next tick needs the store and says so.
	}
	state, whose := r.mine(stored, false)
	if whose != ownershipOurs {
		return
	}
	r.observe(&state)
	if !stored.Removed.IsZero() || state.keep(r.keeper, r.spec.MaxLate, r.now()) {
		r.save(ctx)
	}
}

// passage is how a schedule gets over the ticks that were missed.
type passage struct {
	// missed and skipped count the ticks that were passed over, because they are not to be made up for or because a
	// window leaves them out.
	missed, skipped int
	// rest are the ticks that are to be looked at one by one, the oldest first.
	rest []Tick
	// end is the nominal time of the latest tick.
	end time.Time
}

// pass settles the ticks after after, due by cutoff, that are not to be made up for. What other workers have settled is
// settled.
func (s *State) pass(spec Spec, after, cutoff, now time.Time) passage {
	after = later(after, earlier(s.Settled, cutoff))
	count, ticks := spec.overdue(after, cutoff)
	if count == 0 {
		return passage{end: after}
	}
	p := passage{rest: spec.makeUp(ticks, now), end: ticks[len(ticks)-1].At, missed: count - len(ticks)}
	for _, tick := range ticks[:len(ticks)-len(p.rest)] {
		switch {
		case s.verdict(tick.At) != "":
		case tick.Skip:
			s.decide(tick, VerdictBlackout, "", now)
			p.skipped++
		default:
			p.missed++
			s.LastMissed = tick.At
		}
		s.Settled = later(s.Settled, tick.At)
	}
	s.Missed += p.missed
	return p
}
