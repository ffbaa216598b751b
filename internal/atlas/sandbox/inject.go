package sandbox

import (
	"fmt"
	"slices"
)

// injected is a fault that was injected and is not used up.
type injected struct {
	// fault is never changed, so that calls can read it without the lock.
	fault Fault
	// left is how often it still applies, or 0 without a limit. The lock of the Sandbox guards it.
	left int
}

// faults are those that apply, in their order. The lock of the Sandbox guards them.
type faults []*injected

func (fs faults) list() []Fault {
	list := make([]Fault, len(fs))
	for i, in := range fs {
		list[i] = in.fault
		list[i].Times = in.left
	}
	return list
}

// Inject adds faults, or none of them when one makes no sense or there would be over 1000.
func (s *Sandbox) Inject(fs ...Fault) error {
	for _, f := range fs {
		if err := f.validate(); err != nil {
			return fmt.Errorf("injecting a fault: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults)+len(fs) > maxFaults {
		return fmt.Errorf("injecting a fault: there are %d already, and %d is the most", len(s.faults), maxFaults)
	}
	for _, f := range fs {
		s.faults = append(s.faults, &injected{fault: f, left: f.Times})
	}
	return nil
}

// ClearFaults removes all faults. Those that are waiting for their delay still apply.
func (s *Sandbox) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// faultFor returns the fault that applies to the call, or nil. It spends the fault, except for
// reset_after, which is spent when the call turns out to succeed.
func (s *Sandbox) faultFor(c *call) *injected {
	operation := c.operation()
	if operation == OperationUnknown || operation == OperationRedirected {
		return nil
	}
	if !c.route.oauth && c.entry.Auth == AuthNone {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.faults, func(in *injected) bool {
		return in.fault.Operation == OperationAny || in.fault.Operation == operation
	})
	if i < 0 {
		return nil
	}
	in := s.faults[i]
	if in.fault.Kind != FaultResetAfter {
		s.spendLocked(in)
	}
	return in
}

// spend uses the fault once. It is false when another call has used it up meanwhile.
func (s *Sandbox) spend(in *injected) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spendLocked(in)
}

func (s *Sandbox) spendLocked(in *injected) bool {
	i := slices.Index(s.faults, in)
	if i < 0 {
		return false
	}
	switch in.left {
	case 0: // Without a limit.
	case 1:
		s.faults = slices.Delete(s.faults, i, i+1)
	default:
		in.left--
	}
	return true
}
