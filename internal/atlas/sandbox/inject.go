package sandbox

import (
	"fmt"
	"slices"
)

// faults are those that were injected and not used up. The lock of the Sandbox guards them.
type faults []*Fault

func (fs faults) list() []Fault {
	list := make([]Fault, 0, len(fs))
	for _, f := range fs {
		list = append(list, *f)
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
		s.faults = append(s.faults, &f)
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
func (s *Sandbox) faultFor(c *call) *Fault {
	operation := c.operation()
	if operation == OperationUnknown || operation == OperationRedirected {
		return nil
	}
	if !c.route.oauth && c.entry.Auth == AuthNone {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.faults, func(f *Fault) bool {
		return f.Operation == OperationAny || f.Operation == operation
	})
	if i < 0 {
		return nil
	}
	f := s.faults[i]
	if f.Kind != FaultResetAfter {
		s.spendLocked(f)
	}
	return f
}

// spend uses the fault once. It is false when another call has used it up meanwhile.
func (s *Sandbox) spend(f *Fault) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spendLocked(f)
}

func (s *Sandbox) spendLocked(f *Fault) bool {
	i := slices.Index(s.faults, f)
	if i < 0 {
		return false
	}
	switch f.Times {
	case 0: // For ever.
	case 1:
		s.faults = slices.Delete(s.faults, i, i+1)
	default:
		f.Times--
	}
	return true
}
