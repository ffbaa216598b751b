package notify

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"rekey/internal/jobs"
)

// TypeProof is the CloudEvents type of a verdict on the target of a job. Its data is the ledger's record, as that of a result.
const TypeProof = "rekey.job.proof.v1"

// Result is a message of the stream of results, a result or a verdict: a CloudEvent whose data is the record of a job.
type Result struct {
	ID     string          `json:"id"`
	Source string          `json:"source"`
	Type   string          `json:"type"`
	Time   time.Time       `json:"time"`
	Data   json.RawMessage `json:"data"`

	record jobs.PublicRecord // Of Data.
}

// ReadResult reads a result.
func ReadResult(data []byte) (Result, error) {
	var r Result
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("reading a result: %w", err)
	}
	if err := json.Unmarshal(r.Data, &r.record); err != nil {
		return r, fmt.Errorf("reading the record of result %s: %w", r.ID, err)
	}
	if r.ID == "" || !r.record.Done() {
		return r, fmt.Errorf("reading a result: it has no id or no outcome")
	}
	return r, nil
}

// isVerdict reports whether it is the verdict on the target of a job, and not the job's result.
func (r *Result) isVerdict() bool { return r.Type == TypeProof && r.record.Proof != nil }

// messageID is the id of the result's notification, the same at every attempt, so that a receiver
// can drop repeats. Signatures join it to what follows by a dot.
func (r *Result) messageID() string {
	return strings.ReplaceAll(r.Source+"-"+r.ID, ".", "-")
}

// View is a result as templates see it. It is documented in docs/notify.md, and only ever grows.
type View struct {
	JobID       string
	Kind        string // As the event names it.
	Account     string
	Target      string // What the job was about, such as a project or an identity provider.
	Lane        string
	Origin      string // event, schedule or operator.
	Outcome     string // revoked, already_gone, refused, exhausted or cancelled.
	Proof       string // The verdict on the target after a success, as in a record; empty where it is not checked.
	IsVerdict   bool   // It tells of the verdict, and not of the job's outcome.
	Means       string // What the verdict means, in a sentence; empty without IsVerdict.
	Evidence    string // What the look showed that the verdict rests on; empty without IsVerdict.
	CheckedAt   time.Time
	Detail      string // Why the job ended as it did, for people.
	Reason      string // Free text of the request.
	RequestedBy string // Free text of the request.
	Policy      string // The policy that asked; empty for a direct request.
	DryRun      bool
	Attempts    int
	Status      int    // HTTP status of the last attempt; 0 where no answer came.
	RequestID   string // The API's id of the last request.
	Worker      string // Who made the last attempt.
	EventID     string // The event that asked first.
	EventSource string
	EventCount  int
	AcceptedAt  time.Time
	FinishedAt  time.Time
	Took        time.Duration // From AcceptedAt to FinishedAt, or to CheckedAt of a verdict, rounded to milliseconds.
	Command     string        // The command that shows the job.
	Act         string        // The command that retries the job, where a person must act; else empty.
	Link        string        // The job's page in the console; empty without api.public_url.
}

// means is what a verdict means, for people.
func means(v jobs.Verdict) string {
	switch v {
	case jobs.VerdictPending: // It is not announced.
	case jobs.VerdictVerified:
		return "A read shows that it is dead."
	case jobs.VerdictRecorded:
		return "No read can show it; the event log of the API has the change."
	case jobs.VerdictAccepted:
		return "Not proven: only the API's answer says that it is dead."
	case jobs.VerdictStillAlive:
		return "The API answered with a success, and it still works. A person must act."
	case jobs.VerdictReverted:
		return "It was dead, and is back."
	}
	return ""
}

// mustAct reports whether a person must act on the result or verdict.
func (r *Result) mustAct() bool {
	if r.isVerdict() {
		return r.record.Verdict().Alive()
	}
	return r.record.Outcome.DeadLetter()
}

// view is the result as templates see it, every text passed through clean. The console is the address that links begin with; empty
// for none.
func (r *Result) view(clean func(string) string, console string) View {
	rec := &r.record
	v := View{
		JobID: clean(rec.JobID), Kind: clean(string(rec.Kind)), Account: clean(rec.Account), Target: clean(rec.Target),
		Lane: clean(string(rec.Lane)), Origin: clean(string(rec.Origin)), Outcome: clean(string(rec.Outcome)),
		Proof: clean(string(rec.Verdict())), Detail: clean(rec.Detail), Reason: clean(rec.Reason),
		RequestedBy: clean(rec.RequestedBy), Policy: clean(rec.Policy), DryRun: rec.DryRun,
		Attempts: rec.AttemptCount, EventCount: rec.EventCount,
		AcceptedAt: rec.AcceptedAt.UTC(), FinishedAt: rec.FinishedAt.UTC(),
		Took: rec.FinishedAt.Sub(rec.AcceptedAt).Truncate(time.Millisecond),
	}
	if r.isVerdict() {
		v.IsVerdict, v.Means, v.Evidence = true, means(rec.Verdict()), clean(rec.Proof.Why())
		v.CheckedAt, v.Took = rec.Proof.CheckedAt.UTC(), rec.Proof.CheckedAt.Sub(rec.AcceptedAt).Truncate(time.Millisecond)
	}
	if n := len(rec.Attempts); n > 0 {
		last := rec.Attempts[n-1]
		v.Status, v.RequestID, v.Worker = last.Status, clean(last.RequestID), clean(last.Worker)
	}
	v.Command = "worker job show " + v.JobID
	if r.mustAct() {
		v.Act = "worker job retry " + v.JobID + " --reason TEXT"
	}
	if console != "" {
		v.Link = strings.TrimSuffix(console, "/") + "/jobs/" + url.PathEscape(rec.JobID)
	}
	if len(rec.Events) > 0 {
		v.EventID, v.EventSource = clean(rec.Events[0].ID), clean(rec.Events[0].Source)
	}
	return v
}
