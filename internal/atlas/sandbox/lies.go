package sandbox

import (
	"slices"
	"time"
)

// Kinds of fault that are lies: the answer is that of a success, and the truth is another. Several can apply to one call, one of
// each kind. The delay of a lie is not waited for: time passes for the world alone.
const (
	// FaultPretend does nothing. The event log says that it was done.
	FaultPretend = "pretend"
	// FaultLag does what was asked, and writes the event, after Delay.
	FaultLag = "lag"
	// FaultRestore has another account, as GitOps does, put back what was taken away, Delay after that took effect: a role mapping and
	// an identity provider under another id.
	FaultRestore = "restore"
	// FaultUnlogged leaves out the events.
	FaultUnlogged = "unlogged"
	// FaultLateRestart has clusters begin their restart Delay later than usual. Until then they look IDLE.
	FaultLateRestart = "late_restart"
	// FaultForeign answers 403 to an account that has proved who it is, as from an address that is not on its access list.
	FaultForeign = "foreign"
	// FaultUnnoticed has lastUsedAt of a secret say that it got a token Delay later, or never where that is 0; of a read, lastUsed in the
	// access list of an API key.
	FaultUnnoticed = "unnoticed"
)

// RestorerKey is the public key of the account that the log names for what FaultRestore puts back.
const RestorerKey = "gitopsgk"

// maxLieDelay bounds the delay of a lie.
const maxLieDelay = 31 * 24 * time.Hour

// lieKinds are the kinds of fault that are lies.
func lieKinds() []string {
	return []string{FaultPretend, FaultLag, FaultRestore, FaultUnlogged, FaultLateRestart, FaultForeign, FaultUnnoticed}
}

// isLie says whether the fault changes what happens, and not what is answered.
func (f Fault) isLie() bool { return slices.Contains(lieKinds(), f.Kind) }

// restorable are the operations whose effect can be put back.
func restorable() []string {
	return []string{
		OperationIDPDelete, OperationRoleMappingDelete, OperationX509Disable, OperationDatabaseUserDelete, OperationOrgUserRemove,
		OperationProjectUserRemove, OperationAny,
	}
}

// validateLie says what is wrong with the fields of a lie.
func (f Fault) validateLie(report func(string, ...any)) {
	needs := []string{FaultLag, FaultLateRestart}
	if f.Delay < 0 || f.Delay > maxLieDelay || slices.Contains(needs, f.Kind) && f.Delay == 0 {
		report("delay: it must be from 0 to %s, and not 0 for lag and late_restart", maxLieDelay)
	}
	if f.RetryAfter != "" {
		report("retry_after: a lie has none")
	}
	if f.Kind == FaultRestore && !slices.Contains(restorable(), f.Operation) {
		report("operation: %.40q cannot be put back; restore is for %v", f.Operation, restorable())
	}
	if f.Kind == FaultUnnoticed && !slices.Contains([]string{OperationToken, OperationRead, OperationAny}, f.Operation) {
		report("operation: unnoticed is for %s and %s", OperationToken, OperationRead)
	}
	if f.Kind == FaultLateRestart && f.Operation != OperationX509Disable && f.Operation != OperationAny {
		report("operation: late_restart is for %s", OperationX509Disable)
	}
}

// lie returns the first lie of a kind that applies to the call, and spends it.
func (s *Sandbox) lie(c *call, kind string) (Fault, bool) {
	for _, in := range s.faults {
		f := in.fault
		if f.Kind == kind && (f.Operation == OperationAny || f.Operation == c.operation()) && (f.Account == "" || f.Account == c.account.id) {
			s.spendLocked(in)
			c.entry.Fault = kind
			return f, true
		}
	}
	return Fault{}, false
}

// change is what an operation does to the world.
type change struct {
	do   func(at time.Time)
	says []entry
	// undo puts it back, and back is what the log says of that. Nil: it cannot be put back.
	undo func(at time.Time)
	back []entry
}

// alter makes a change, or what the lies make of it.
func (s *Sandbox) alter(c *call, ch change) {
	_, pretend := s.lie(c, FaultPretend)
	_, silent := s.lie(c, FaultUnlogged)
	lag, _ := s.lie(c, FaultLag)
	at := c.at.Add(lag.Delay)
	who := actorOf(c)
	s.later(at, func(at time.Time) {
		if !pretend {
			ch.do(at)
		}
		if !silent {
			s.log(who, at, ch.says...)
		}
	})
	if ch.undo != nil && !pretend {
		s.restore(c, at, ch, silent)
	}
	s.settle(s.now())
}

// restore puts a change back some time after it took effect, if a lie says so.
func (s *Sandbox) restore(c *call, at time.Time, ch change, silent bool) {
	restore, ok := s.lie(c, FaultRestore)
	if !ok {
		return
	}
	s.later(at.Add(restore.Delay), func(at time.Time) {
		ch.undo(at)
		if !silent {
			s.log(actor{keyID: madeID("API key " + RestorerKey), publicKey: RestorerKey, address: "192.0.2.7"}, at, ch.back...)
		}
	})
}

// restoredID is the id of what was put back.
func restoredID(id string, at time.Time) string {
	return madeID(id + " restored " + at.UTC().Format(time.RFC3339Nano))
}

// deed is what happens to the world at a moment.
type deed struct {
	at time.Time
	do func(at time.Time)
}

// maxDeeds bounds what is still to happen.
const maxDeeds = 10_000

// later has something happen at a moment, once the world is settled then. What is too much does not happen.
func (s *Sandbox) later(at time.Time, do func(at time.Time)) {
	if len(s.deeds) >= maxDeeds {
		return
	}
	i, _ := slices.BinarySearchFunc(s.deeds, at, func(d deed, at time.Time) int {
		if d.at.After(at) {
			return 1
		}
		return -1 // What is due at the same moment happens in the order of asking.
	})
	s.deeds = slices.Insert(s.deeds, i, deed{at, do})
}

// settle lets happen what is due. A deed may bring further ones.
func (s *Sandbox) settle(now time.Time) {
	for len(s.deeds) > 0 && !s.deeds[0].at.After(now) {
		d := s.deeds[0]
		s.deeds = s.deeds[1:]
		d.do(d.at)
	}
}
