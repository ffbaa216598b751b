// Package names has the names of the streams, buckets, subjects and headers of a namespace.
package names

import (
	"cmp"
	"strings"

	"rekey/internal/jobs"
)

// Headers of dead letters.
const (
	HeaderReason       = "Rekey-Reason"        // Why it is here, for people.
	HeaderProblem      = "Rekey-Problem"       // Where there are several reasons: each of them, as a value of its own.
	HeaderCode         = "Rekey-Code"          // Why it is here, closed set: malformed, policy, limit, identity, conflict, signature, plaintext, unread, unmatched, refused, exhausted, still_alive, reverted, undecodable, gone.
	HeaderPolicy       = "Rekey-Policy"        // The policies that it is about, with commas.
	HeaderJobID        = "Rekey-Job-Id"        // The job, where there is one; of a request, the job that it asked for.
	HeaderKind         = "Rekey-Kind"          // The job's kind.
	HeaderEventID      = "Rekey-Event-Id"      // The event's own id, where it has one.
	HeaderEventSource  = "Rekey-Event-Source"  // The event's source, where it has one.
	HeaderEventSubject = "Rekey-Event-Subject" // The subject of the original message.
	HeaderEventSeq     = "Rekey-Event-Seq"     // Its sequence in the stream of events.
	HeaderEventAt      = "Rekey-Event-At"      // When NATS accepted it, RFC 3339.
	HeaderRedacted     = "Rekey-Redacted"      // "true" when secrets were taken out of the copy.
	HeaderTruncated    = "Rekey-Truncated"     // The size of the original when the copy is shorter.
)

// Headers of an event that Rekey publishes once more, on the class of operators: the identity that
// it had, so that a job that came of it meanwhile is found, and its subject, which decides about
// class and lane.
const (
	HeaderReplaySource  = "Rekey-Replay-Source"
	HeaderReplayID      = "Rekey-Replay-Id"
	HeaderReplaySubject = "Rekey-Replay-Subject"
)

// HeaderSealedEvent carries a whole event, sealed: in the dead letter of an event that held
// secrets in the clear, and in the event that is published from it again.
// Its value is SealedInPayload where the payload carries it.
const HeaderSealedEvent = "Rekey-Sealed-Event"

// SealedInPayload is the value of HeaderSealedEvent in messages whose payload is the sealed event: JetStream takes headers of
// 64 KiB at most (nats-server, error 10097).
const SealedInPayload = "payload"

// HeaderMessage is the sequence that a job's message had before it was put to the end of its
// queue: it answers for what it did under that.
const HeaderMessage = "Rekey-Message"

// MaxClassTokens is how many tokens a class may have.
const MaxClassTokens = 4

// HeaderReceiver names the receiver in the dead letter of a notification.
const HeaderReceiver = "Rekey-Receiver"

// Names are the names of one namespace's streams and subjects.
type Names struct {
	Namespace string
}

// New returns the names of a namespace, "rekey" by default.
func New(namespace string) Names { return Names{Namespace: cmp.Or(namespace, "rekey")} }

func (n Names) stream(name string) string { return strings.ToUpper(n.Namespace) + "_" + name }

// Events is the stream of events.
func (n Names) Events() string { return n.stream("EVENTS") }

// Jobs is the stream of jobs.
func (n Names) Jobs() string { return n.stream("JOBS") }

// Results is the stream of results.
func (n Names) Results() string { return n.stream("RESULTS") }

// DeadLetters is the stream of dead letters.
func (n Names) DeadLetters() string { return n.stream("DLQ") }

// Schedules is the bucket with the state of every schedule.
func (n Names) Schedules() string { return n.stream("SCHEDULES") }

// Audit is the bucket with the latest result of every worker's chain.
func (n Names) Audit() string { return n.stream("AUDIT") }

// Tokens is the bucket of shared bearer tokens.
func (n Names) Tokens() string { return n.stream("TOKENS") }

// Pace is the bucket with the state of every rate bucket.
func (n Names) Pace() string { return n.stream("PACE") }

// Rules is the bucket with the rules of intake that the fleet goes by.
func (n Names) Rules() string { return n.stream("RULES") }

// Notify is the bucket with what is remembered of the receivers of notifications.
func (n Names) Notify() string { return n.stream("NOTIFY") }

// Limits is the bucket that counts jobs by the hour.
func (n Names) Limits() string { return n.stream("LIMITS") }

// Subject is a subject of the namespace.
func (n Names) Subject(rest string) string { return n.Namespace + ".v1." + rest }

// Event is the subject of events of a class; "*" stands for all classes.
func (n Names) Event(class string) string { return n.Subject("event." + class) }

// EventClass is the class of an event's subject.
func (n Names) EventClass(subject string) string {
	return strings.TrimPrefix(subject, n.Subject("event."))
}

// Job is the subject of a job in a lane.
func (n Names) Job(lane jobs.Lane, kind jobs.Kind) string {
	return n.Subject("job." + string(lane) + "." + kind.SubjectToken())
}

// Lane is the subject filter of all jobs in a lane.
func (n Names) Lane(lane jobs.Lane) string { return n.Subject("job." + string(lane) + ".>") }

// Check is the subject of a check of what a job of a kind did.
func (n Names) Check(kind jobs.Kind) string { return n.Subject("check." + kind.SubjectToken()) }

// Watch is the subject of a target that is watched after a job of a kind.
func (n Names) Watch(kind jobs.Kind) string { return n.Subject("check.watch." + kind.SubjectToken()) }

// Proof is the subject of the verdict on what a job of a kind did.
func (n Names) Proof(kind jobs.Kind, verdict jobs.Verdict) string {
	return n.Subject("proof." + kind.SubjectToken() + "." + string(verdict))
}

// IsProof reports whether a subject is that of a verdict.
func (n Names) IsProof(subject string) bool {
	for _, kind := range jobs.Kinds() {
		for _, verdict := range jobs.Verdicts() {
			if subject == n.Proof(kind, verdict) {
				return true
			}
		}
	}
	return false
}

// Result is the subject of a result.
func (n Names) Result(kind jobs.Kind, outcome jobs.Outcome) string {
	return n.Subject("result." + kind.SubjectToken() + "." + string(outcome))
}

// IsResult reports whether a subject is that of a result.
func (n Names) IsResult(subject string) bool {
	for _, kind := range jobs.Kinds() {
		for _, outcome := range jobs.Outcomes() {
			if subject == n.Result(kind, outcome) {
				return true
			}
		}
	}
	return false
}

// ResultsOf is the subject filter of all results of a kind.
func (n Names) ResultsOf(kind jobs.Kind) string {
	return n.Subject("result." + kind.SubjectToken() + ".>")
}

// Refused is the subject of reports of refused requests.
func (n Names) Refused() string { return n.Subject("access.refused") }

// DeadEvent is the subject of events that cannot be read.
func (n Names) DeadEvent() string { return n.Subject("dlq.event") }

// DeadJob is the subject of jobs that were refused or exhausted.
func (n Names) DeadJob(kind jobs.Kind) string { return n.Subject("dlq.job." + kind.SubjectToken()) }

// IsIncident reports whether an event on a subject is taken in by the incidents' own consumers.
func (n Names) IsIncident(subject string) bool {
	class := n.EventClass(subject)
	return jobs.LastToken(class) == jobs.ClassIncident && strings.Count(class, ".") < MaxClassTokens
}

// DeadNotification is the subject of notifications that were given up.
func (n Names) DeadNotification() string { return n.Subject("dlq.notification") }

// Renotify is the subject on which results are sent to a receiver once more.
func (n Names) Renotify(receiver string) string { return n.Subject("job.notify." + receiver) }

// Worker is the subject on which a worker answers.
func (n Names) Worker(name string) string { return n.Subject("worker." + SubjectToken(name)) }

// Query is the subject of a question to the workers.
func (n Names) Query(what string) string { return n.Subject("query." + what) }

// SubjectToken makes one token of a subject of a name, which may hold what subjects do not.
func SubjectToken(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, name)
}
