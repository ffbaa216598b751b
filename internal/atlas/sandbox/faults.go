package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kinds of fault that are not a status. A status from 200 to 599, such as "429", is a kind too: the
// sandbox answers it, in the shape that Atlas gives it, and does nothing else.
const (
	// FaultReset resets the connection without an answer, and nothing happens.
	FaultReset = "reset"
	// FaultResetAfter lets the operation happen and then resets the connection: the answer is
	// lost. It waits for a call that succeeds.
	FaultResetAfter = "reset_after"
	// FaultSlow waits for Delay and then does what was asked.
	FaultSlow = "slow"
	// FaultHTML answers with a page, as a proxy in front of Atlas does. The status is 503.
	FaultHTML = "html"
	// FaultCut sends half of an error and closes the connection. The status is 500.
	FaultCut = "cut"
	// FaultEndless sends 16 MiB and then keeps the caller waiting for more. The status is 500.
	FaultEndless = "endless"
	// FaultRedirect answers 307 with a Location on the sandbox, which counts who follows.
	FaultRedirect = "redirect"
)

// Bounds of a Fault.
const (
	maxDelay     = 5 * time.Minute
	maxFaultText = 256
	maxFaults    = 1000
)

// datePrefix begins a RetryAfter that is a time from now instead of a value for the header.
const datePrefix = "date:"

// Fault makes the sandbox misbehave. Faults apply in the order in which they were injected, one
// per call. The first, unauthenticated leg of a digest exchange passes, so that Times counts
// whole attempts.
type Fault struct {
	// Operation is one of the Operation constants, "any" included.
	Operation string
	// Kind is one of the Fault constants or a status.
	Kind string
	// Status replaces the status of the kinds html, cut and endless. Zero leaves it.
	Status int
	// RetryAfter is the value of the Retry-After header, as it is. "date:" and a duration, as in
	// "date:2s", mean an HTTP date so far from now, rounded up to a second; a negative one is in
	// the past. Empty means no header.
	RetryAfter string
	// ErrorCode replaces the errorCode, or the OAuth error, of a status from 400 up. Empty leaves it.
	ErrorCode string
	// Delay is how long to wait before anything else happens, at most 5 minutes. Of a lie it is how late the truth is, at most 31 days.
	Delay time.Duration
	// Account is the client id or public key of the account whose calls a lie applies to. Empty: all. Other faults have none.
	Account string
	// Times is how often the fault applies. Zero means until ClearFaults.
	Times int
}

// statusKind returns the status that the kind is, or 0.
func (f Fault) statusKind() int {
	status, err := strconv.Atoi(f.Kind)
	if err != nil || len(f.Kind) != 3 || status < 200 || status > 599 {
		return 0
	}
	return status
}

// validate reports every mistake in the fault, each with the name of the field.
func (f Fault) validate() error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !slices.Contains(operations(), f.Operation) {
		report("operation: %.40q is not known; the operations are %s", f.Operation, strings.Join(operations(), ", "))
	}
	kinds := append([]string{FaultReset, FaultResetAfter, FaultSlow, FaultHTML, FaultCut, FaultEndless, FaultRedirect}, lieKinds()...)
	status := f.statusKind()
	if status == 0 && !slices.Contains(kinds, f.Kind) {
		report("kind: %.40q is not known; the kinds are a status from 200 to 599, %s", f.Kind, strings.Join(kinds, ", "))
	}
	hasBody := slices.Contains([]string{FaultHTML, FaultCut, FaultEndless}, f.Kind)
	switch {
	case f.Status == 0:
	case !hasBody:
		report("status: only html, cut and endless have one")
	case f.Status < 200 || f.Status > 599 || f.Status == http.StatusNoContent || f.Status == http.StatusNotModified:
		report("status: %d is not a status from 200 to 599 that has a body", f.Status)
	}
	if f.ErrorCode != "" && status < 400 || strings.Trim(f.ErrorCode, errorCodeLetters) != "" || len(f.ErrorCode) > maxFaultText {
		report("error_code: it needs a status from 400 up as the kind, and consists of letters, digits and _")
	}
	switch {
	case f.isLie():
		f.validateLie(report)
	case f.Account != "":
		report("account: only lies have one: %s", strings.Join(lieKinds(), ", "))
	case f.Delay < 0 || f.Delay > maxDelay || f.Kind == FaultSlow && f.Delay == 0:
		report("delay: it must be from 0 to %s, and not 0 for slow", maxDelay)
	}
	if f.Times < 0 {
		report("times: %d is negative", f.Times)
	}
	if err := checkRetryAfter(f.RetryAfter); err != nil {
		report("retry_after: %w", err)
	}
	return errors.Join(errs...)
}

const errorCodeLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

func checkRetryAfter(value string) error {
	if text, ok := strings.CutPrefix(value, datePrefix); ok {
		if _, err := time.ParseDuration(text); err != nil {
			return fmt.Errorf("%.40q is not a duration such as 2s", text)
		}
	}
	for _, r := range value {
		if r < ' ' || r > '~' {
			return errors.New("it has characters that a header cannot hold")
		}
	}
	if len(value) > maxFaultText {
		return fmt.Errorf("it is longer than %d bytes", maxFaultText)
	}
	return nil
}

// ParseFault reads a fault from "operation:kind" and any number of ":field=value", as in
// "jwks.revoke:429:retry_after=2:times=1". The fields are retry_after, delay, times, status,
// error_code and account. The error names the field that is wrong.
func ParseFault(text string) (Fault, error) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 {
		return Fault{}, fmt.Errorf("fault %.80q: the form is operation:kind[:field=value]", text)
	}
	f := Fault{Operation: parts[0], Kind: parts[1]}
	seen := map[string]bool{}
	for _, field := range faultFields(parts[2:]) {
		name, value, _ := strings.Cut(field, "=")
		err := f.set(name, value)
		if err == nil && seen[name] {
			err = fmt.Errorf("%s: it is given twice", name)
		}
		if err != nil {
			return Fault{}, fmt.Errorf("fault %.80q: %w", text, err)
		}
		seen[name] = true
	}
	if err := f.validate(); err != nil {
		return Fault{}, fmt.Errorf("fault %.80q: %w", text, err)
	}
	return f, nil
}

// faultFields joins what belongs together: the value of retry_after may have colons in it, as a
// date has.
func faultFields(parts []string) []string {
	var fields []string
	for _, part := range parts {
		last := len(fields) - 1
		if last >= 0 && !strings.Contains(part, "=") {
			value, isRetryAfter := strings.CutPrefix(fields[last], "retry_after=")
			if _, err := strconv.Atoi(value); isRetryAfter && err != nil {
				fields[last] += ":" + part
				continue
			}
		}
		fields = append(fields, part)
	}
	return fields
}

// set fills in one field from its text.
func (f *Fault) set(name, value string) error {
	var err error
	switch name {
	case "retry_after":
		f.RetryAfter = value
	case "error_code":
		f.ErrorCode = value
	case "account":
		f.Account = value
	case "delay":
		if f.Delay, err = time.ParseDuration(value); err != nil {
			return fmt.Errorf("delay: %.40q is not a duration such as 500ms", value)
		}
	case "times":
		if f.Times, err = strconv.Atoi(value); err != nil {
			return fmt.Errorf("times: %.40q is not a number", value)
		}
	case "status":
		if f.Status, err = strconv.Atoi(value); err != nil {
			return fmt.Errorf("status: %.40q is not a number", value)
		}
	default:
		return fmt.Errorf("field %.40q is not known; the fields are retry_after, delay, times, status, error_code and account", name)
	}
	return nil
}

// faultJSON is a Fault in JSON, where the delay is text such as "2s".
type faultJSON struct {
	Operation  string `json:"operation"`
	Kind       string `json:"kind"`
	Status     int    `json:"status,omitempty"`
	RetryAfter string `json:"retry_after,omitempty"`
	ErrorCode  string `json:"error_code,omitempty"`
	Delay      string `json:"delay,omitempty"`
	Account    string `json:"account,omitempty"`
	Times      int    `json:"times,omitempty"`
}

// MarshalJSON writes the fault with the field names of ParseFault.
func (f Fault) MarshalJSON() ([]byte, error) {
	j := faultJSON{
		Operation: f.Operation, Kind: f.Kind, Status: f.Status, RetryAfter: f.RetryAfter,
		ErrorCode: f.ErrorCode, Account: f.Account, Times: f.Times,
	}
	if f.Delay != 0 {
		j.Delay = f.Delay.String()
	}
	return json.Marshal(j)
}

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
		return !in.fault.isLie() && (in.fault.Operation == OperationAny || in.fault.Operation == operation)
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
