package metrics

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// other stands for every label value outside of its closed set. A bug that lets foreign text
	// become a label costs one series, not one per text.
	other = "other"
	// noReason is the reason of an attempt that worked.
	noReason = "none"
	// noAnswer is the code of a request that got no HTTP status.
	noAnswer = "error"
)

// set is the closed set of values that one label may have.
type set []string

// newSet checks the values of the label called name.
func newSet(name string, values []string) (set, error) {
	for i, v := range values {
		switch {
		case v == "":
			return nil, fmt.Errorf("label %s: value %d is empty", name, i+1)
		case !utf8.ValidString(v):
			return nil, fmt.Errorf("label %s: value %q is not valid UTF-8", name, v)
		case slices.Contains(values[:i], v):
			return nil, fmt.Errorf("label %s: value %q is listed twice", name, v)
		}
	}
	return slices.Clone(values), nil
}

// bound returns v if it is in the set, else "other". The sets have a handful of values, where a
// walk is no slower than a map.
func (s set) bound(v string) string {
	if slices.Contains(s, v) {
		return v
	}
	return other
}

// start returns the values whose series exist from the first scrape: all of them, or the empty
// value, which Prometheus treats as no label at all, when the set has none.
func (s set) start() []string {
	if len(s) == 0 {
		return []string{""}
	}
	return s
}

// changeLabel makes names the values of a label that a reload changes. The series of new values begin at 0, those of values
// that are gone disappear, the others go on. It fails, and changes nothing, when the names are not as [Config] demands.
func changeLabel(
	values *atomic.Pointer[set], label string, names []string, create func(string),
	vecs ...interface{ DeletePartialMatch(prometheus.Labels) int },
) error {
	next, err := newSet(label, names)
	if err != nil {
		return fmt.Errorf("changing metrics: %w", err)
	}
	before := values.Swap(&next)
	for _, name := range before.start() {
		if slices.Contains(next.start(), name) {
			continue
		}
		for _, vec := range vecs {
			vec.DeletePartialMatch(prometheus.Labels{label: name})
		}
	}
	for _, name := range next.start() {
		create(name)
	}
	return nil
}

// labels are the closed sets of all labels.
type labels struct {
	receivers, notificationResults                         set
	policies, decisions, routes, doors, doorResults        set
	kinds, lanes, outcomes, reasons, origins, eventResults set
	verdicts, rotations, rotationResults, rotationSteps    set
	operations, schedules, skips, buckets, streams, parts  set
}

// newLabels checks all sets and reports every mistake at once.
func newLabels(cfg Config) (labels, error) {
	reasons := cfg.Reasons
	if !slices.Contains(reasons, noReason) {
		reasons = append(slices.Clone(reasons), noReason)
	}
	var (
		l    labels
		errs []error
	)
	for _, s := range []struct {
		name   string
		values []string
		to     *set
	}{
		{"kind", cfg.Kinds, &l.kinds},
		{"lane", cfg.Lanes, &l.lanes},
		{"outcome", cfg.Outcomes, &l.outcomes},
		{"verdict", cfg.Verdicts, &l.verdicts},
		{"reason", reasons, &l.reasons},
		{"origin", cfg.Origins, &l.origins},
		{"result", cfg.EventResults, &l.eventResults},
		{"operation", cfg.Operations, &l.operations},
		{"policy", cfg.Policies, &l.policies},
		{"decision", cfg.Decisions, &l.decisions},
		{"receiver", cfg.Receivers, &l.receivers},
		{"result", cfg.NotificationResults, &l.notificationResults},
		{"schedule", cfg.Schedules, &l.schedules},
		{"reason", cfg.Skips, &l.skips},
		{"bucket", cfg.Buckets, &l.buckets},
		{"stream", cfg.Streams, &l.streams},
		{"part", cfg.Parts, &l.parts},
		{"route", cfg.Routes, &l.routes},
		{"door", cfg.Doors, &l.doors},
		{"result", cfg.DoorResults, &l.doorResults},
		{"rotation", cfg.Rotations, &l.rotations},
		{"result", cfg.RotationResults, &l.rotationResults},
		{"step", cfg.RotationSteps, &l.rotationSteps},
	} {
		var err error
		if *s.to, err = newSet(s.name, s.values); err != nil {
			errs = append(errs, err)
		}
	}
	return l, errors.Join(errs...)
}

// boundCode returns code if it is an HTTP status from 100 to 599 or "error", else "other".
func boundCode(code string) string {
	if code == noAnswer {
		return code
	}
	if len(code) != 3 || code[0] < '1' || code[0] > '5' {
		return other
	}
	for _, digit := range code[1:] {
		if digit < '0' || digit > '9' {
			return other
		}
	}
	return code
}
