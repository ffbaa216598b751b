package jobs

import (
	"fmt"
	"slices"
	"strings"
)

// Lane is how urgent a job is. Urgent jobs overtake normal ones, normal ones overtake bulk.
type Lane string

// The lanes, most urgent first.
const (
	LaneUrgent Lane = "urgent"
	LaneNormal Lane = "normal"
	LaneBulk   Lane = "bulk"
)

// Lanes lists all lanes, most urgent first.
func Lanes() []Lane { return []Lane{LaneUrgent, LaneNormal, LaneBulk} }

// ParseLane returns the lane named s. The error lists the known ones.
func ParseLane(s string) (Lane, error) {
	if l := Lane(s); slices.Contains(Lanes(), l) {
		return l, nil
	}
	return "", fmt.Errorf("unknown lane; the lanes are %s", join(Lanes()))
}

// MoreUrgentThan reports whether l overtakes other.
func (l Lane) MoreUrgentThan(other Lane) bool {
	return slices.Index(Lanes(), l) < slices.Index(Lanes(), other)
}

// State is the state of a job.
type State string

// The states of a job.
const (
	StateQueued  State = "queued"  // Accepted and in its lane.
	StateRunning State = "running" // Claimed by a worker that calls the API.
	StateWaiting State = "waiting" // Has a RetryAt in the future.
	StateDone    State = "done"    // Has an Outcome, which is final.
)

// States lists all states in the order of a job's life.
func States() []State { return []State{StateQueued, StateRunning, StateWaiting, StateDone} }

// Outcome is how a job ended. The set is closed and every outcome is terminal.
type Outcome string

// The outcomes of a job.
const (
	OutcomeRevoked     Outcome = "revoked"      // The API confirmed or accepted the revocation.
	OutcomeRotated     Outcome = "rotated"      // A new credential has taken the place of the old one, which is deleted.
	OutcomeAlreadyGone Outcome = "already_gone" // Evidence says that it was dead before this attempt.
	OutcomeRefused     Outcome = "refused"      // Retrying cannot help: policy, malformed, not found, forbidden.
	OutcomeExhausted   Outcome = "exhausted"    // Attempts or age are used up.
	OutcomeCancelled   Outcome = "cancelled"    // An operator took it back.
)

// Outcomes lists all outcomes.
func Outcomes() []Outcome {
	return []Outcome{OutcomeRevoked, OutcomeRotated, OutcomeAlreadyGone, OutcomeRefused, OutcomeExhausted, OutcomeCancelled}
}

// Success reports whether the credential is dead after this outcome.
func (o Outcome) Success() bool {
	return o == OutcomeRevoked || o == OutcomeRotated || o == OutcomeAlreadyGone
}

// DeadLetter reports whether a job with this outcome is put among the dead letters.
func (o Outcome) DeadLetter() bool { return o == OutcomeRefused || o == OutcomeExhausted }

// Origin is what asked for a job.
type Origin string

// The origins of a job.
const (
	OriginEvent    Origin = "event"    // A message on rekey.v1.event.<class>.
	OriginSchedule Origin = "schedule" // A tick of a configured schedule.
	OriginOperator Origin = "operator" // The command line.
)

// Origins lists all origins.
func Origins() []Origin { return []Origin{OriginEvent, OriginSchedule, OriginOperator} }

// Event classes that Rekey itself publishes or treats specially. Users may have their own.
const (
	ClassIncident = "incident" // Urgent by default.
	ClassRotation = "rotation"
	ClassSchedule = "schedule" // What the scheduler publishes.
	ClassOperator = "operator" // What `worker job submit` publishes.
)

// OriginOf tells what asked, from the class of the event.
func OriginOf(class string) Origin {
	switch class {
	case ClassSchedule:
		return OriginSchedule
	case ClassOperator:
		return OriginOperator
	}
	return OriginEvent
}

// DefaultLane is the lane of a job whose request names none. The last token of a class decides:
// siem.incident is as urgent as incident.
func DefaultLane(class string) Lane {
	if LastToken(class) == ClassIncident {
		return LaneUrgent
	}
	return LaneNormal
}

// LastToken is the last token of a class, which says what sort of event it is.
func LastToken(class string) string { return class[strings.LastIndexByte(class, '.')+1:] }

// EventResult is what became of one received event.
type EventResult string

// What can become of an event.
const (
	EventAccepted  EventResult = "accepted"  // It made a job.
	EventDuplicate EventResult = "duplicate" // The ledger has its job, or an unfinished job has its target.
	EventMalformed EventResult = "malformed" // It cannot be understood and is in the dead letters.
	// Of the next two something may have been done all the same; the dead letter says what was not.
	EventRefused     EventResult = "refused"      // A limit, its identity, intake.plaintext or the want of a signature forbids it, or a part of it, which is in the dead letters.
	EventPolicyError EventResult = "policy_error" // A policy erred on it; it is in the dead letters.
	EventUnmatched   EventResult = "unmatched"    // It asks for nothing: no policy matches, and it is no direct request.
)

// EventResults lists all that can become of an event.
func EventResults() []EventResult {
	return []EventResult{EventAccepted, EventDuplicate, EventMalformed, EventRefused, EventPolicyError, EventUnmatched}
}

// Names returns the members of a closed set as plain strings, for labels and messages.
func Names[T ~string](set []T) []string {
	names := make([]string, len(set))
	for i, member := range set {
		names[i] = string(member)
	}
	return names
}

func join[T ~string](set []T) string { return strings.Join(Names(set), ", ") }
