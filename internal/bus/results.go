package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/audit"
	"rekey/internal/direct"
	"rekey/internal/event"
	"rekey/internal/jobs"
	"rekey/internal/names"
	"rekey/internal/notify"
	"rekey/internal/refused"
)

// TypeFinished is the CloudEvents type of a result.
const TypeFinished = "rekey.job.finished.v1"

// Result is a job's result: a CloudEvent 1.0 whose data is the ledger's record.
type Result struct {
	SpecVersion     string            `json:"specversion"`
	ID              string            `json:"id"` // The job's id, with a number behind it for a job that was retried: each result has its own.
	Source          string            `json:"source"`
	Type            string            `json:"type"`
	Subject         string            `json:"subject"` // The target.
	Time            time.Time         `json:"time"`
	DataContentType string            `json:"datacontenttype"`
	Trace           string            `json:"traceparent,omitempty"` // Distributed tracing extension.
	Data            jobs.PublicRecord `json:"data"`
}

// Announcer implements jobs.Announcer and proof.Announcer on the streams of results, dead letters and jobs.
type Announcer struct {
	conn            *Conn
	results, proofs *audit.Chain
	sealer          jobs.Sealer
}

// NewAnnouncer returns the announcer of a namespace, which ties the results and the verdicts that it
// publishes into a chain each. sealer seals what checks need of secrets that came in the clear.
func NewAnnouncer(c *Conn, results, proofs *audit.Chain, sealer jobs.Sealer) *Announcer {
	return &Announcer{conn: c, results: results, proofs: proofs, sealer: sealer}
}

// Announce publishes the dead letter, where the outcome asks for one, then the
// result, and then the check of a success. With again set it looks first whether that was done before: since the job was
// accepted, which is a moment by the server's clock. When it finished is one by a worker's,
// which may be ahead.
func (a *Announcer) Announce(ctx context.Context, j jobs.Job, r jobs.Record, maybeSent bool) error {
	if r.Outcome.DeadLetter() {
		msg, err := a.deadJob(j, r, string(r.Outcome), r.Detail)
		if err != nil {
			return err
		}
		if err := a.conn.publishOnce(ctx, a.conn.names.DeadLetters(), msg, roundID(r.JobID+".dead", r.Round), maybeSent, r.AcceptedAt); err != nil {
			return err
		}
	}
	msg, err := a.result(r)
	if err != nil {
		return err
	}
	id := roundID(r.JobID+".result", r.Round)
	err = a.conn.once(ctx, a.conn.names.Results(), msg, id, maybeSent, r.AcceptedAt, func(ctx context.Context) error { return a.tie(ctx, a.results, msg, id) })
	if err != nil || r.Verdict() != jobs.VerdictPending {
		return err
	}
	return a.EnqueueCheck(ctx, j, r)
}

// tie publishes a result or a verdict as the next one in its chain.
func (a *Announcer) tie(ctx context.Context, chain *audit.Chain, msg *nats.Msg, id string) error {
	return a.conn.tie(ctx, chain, msg, id)
}

// tie publishes a message as the next one in a chain.
func (c *Conn) tie(ctx context.Context, chain *audit.Chain, msg *nats.Msg, id string) error {
	return chain.Tie(ctx, id, msg.Subject, msg.Data, func(link audit.Link) (bool, error) {
		text, err := link.Encode()
		if err != nil {
			return false, err
		}
		msg.Header.Set(audit.Header, text)
		ack, err := c.send(ctx, msg, id)
		return err == nil && !ack.Duplicate, err
	})
}

func (a *Announcer) result(r jobs.Record) (*nats.Msg, error) {
	return a.event(r, a.conn.names.Result(r.Kind, r.Outcome), Result{ID: roundID(r.JobID, r.Round), Type: TypeFinished, Time: r.FinishedAt})
}

// event is a CloudEvent about a job.
func (a *Announcer) event(r jobs.Record, subject string, e Result) (*nats.Msg, error) {
	e.SpecVersion, e.Source, e.Subject, e.DataContentType = "1.0", a.conn.names.Namespace, r.Target, "application/json"
	e.Trace, e.Data = r.Trace, r.Public()
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding the %s of job %s: %w", e.Type, r.JobID, err)
	}
	msg := &nats.Msg{
		Subject: subject, Data: data,
		Header: nats.Header{"Content-Type": []string{event.CloudEventsJSON}},
	}
	if r.Trace != "" {
		msg.Header.Set(event.HeaderTrace, r.Trace)
	}
	return msg, nil
}

// deadJob is the job's message as it was, with fingerprints for secrets, and their sealed forms; and what it is among the dead
// letters for.
func (a *Announcer) deadJob(j jobs.Job, r jobs.Record, code, reason string) (*nats.Msg, error) {
	data, err := json.Marshal(newJobMessage(j, j.Params.Stored()))
	if err != nil {
		return nil, fmt.Errorf("encoding the dead letter of job %s: %w", r.JobID, err)
	}
	msg := &nats.Msg{Subject: a.conn.names.DeadJob(r.Kind), Data: data, Header: nats.Header{}}
	msg.Header.Set(names.HeaderReason, headerText(reason))
	msg.Header.Set(names.HeaderCode, code)
	msg.Header.Set(names.HeaderJobID, r.JobID)
	msg.Header.Set(names.HeaderKind, string(r.Kind))
	setReference(msg.Header, j.Event)
	return msg, nil
}

// publishOnce publishes a message that must stand in the stream once.
func (c *Conn) publishOnce(ctx context.Context, stream string, msg *nats.Msg, id string, maybeSent bool, since time.Time) error {
	return c.once(ctx, stream, msg, id, maybeSent, since, func(ctx context.Context) error { return c.publish(ctx, msg, id) })
}

// once sends a message that must stand in the stream once. The stream itself drops a copy
// within its window of two minutes; with again set, the stream is searched from the moment
// on at which the message may have been published first.
func (c *Conn) once(
	ctx context.Context, stream string, msg *nats.Msg, id string, maybeSent bool, since time.Time, send func(context.Context) error,
) error {
	// What the search found must still be true when the message is sent, or the stream must
	// know the message of a faster worker.
	ctx, cancel := context.WithTimeout(ctx, onceTimeout)
	defer cancel()
	if maybeSent {
		found, err := c.published(ctx, stream, msg.Subject, id, since)
		if err != nil || found {
			return err
		}
	}
	return send(ctx)
}

// onceTimeout bounds a search and the publication after it, together well below the window
// in which the streams drop copies.
const onceTimeout = time.Minute

// clockMargin allows for the clocks of the servers of a cluster.
const clockMargin = time.Minute

// published searches the stream for a message by its id, among those of one subject since a moment.
func (c *Conn) published(ctx context.Context, stream, subject, id string, since time.Time) (bool, error) {
	at, err := direct.PositionOf(ctx, c.js, stream)
	if err != nil {
		return false, fmt.Errorf("searching %s: %w", stream, err)
	}
	found := errors.New("found")
	query := direct.Query{Stream: stream, Subject: subject, Since: since.Add(-clockMargin), Until: at.Reached()}
	_, err = direct.Read(ctx, c.js, query, func(m direct.Message) error {
		if m.Header.Get(nats.MsgIdHdr) == id {
			return found
		}
		return nil
	})
	if errors.Is(err, found) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("searching %s: %w", stream, err)
	}
	return false, nil
}

// EachResult calls do for every result since a moment (the zero time: all), the oldest
// first, and returns how long the stream keeps them, 0 without a limit.
func (c *Conn) EachResult(ctx context.Context, since time.Time, do func(audit.Result) error) (time.Duration, error) {
	keep, err := c.eachSince(ctx, c.names.Results(), since, func(m direct.Message) error {
		return do(audit.Result{
			Seq: m.Seq, At: m.At, Subject: m.Subject, Payload: m.Data, Link: m.Header.Get(audit.Header), Proof: c.names.IsProof(m.Subject),
			Refusals: m.Subject == c.names.Refused(), Foreign: !c.names.IsResult(m.Subject) && !c.names.IsProof(m.Subject) && m.Subject != c.names.Refused(),
		})
	})
	if err != nil {
		return 0, fmt.Errorf("reading the results: %w", err)
	}
	return keep, nil
}

// EachEvent calls do for every event that is kept since a moment (the zero time: all), the
// oldest first. Events that held secrets may be erased.
func (c *Conn) EachEvent(ctx context.Context, since time.Time, do func(event.Message) error) error {
	_, err := c.eachSince(ctx, c.names.Events(), since, func(m direct.Message) error {
		return do(event.Message{Subject: m.Subject, Header: m.Header, Data: m.Data, Seq: m.Seq, At: m.At})
	})
	if err != nil {
		return fmt.Errorf("reading the events: %w", err)
	}
	return nil
}

// eachSince calls do for every message of a stream since a moment (the zero time: all), or
// returns jobs.ErrNotFound when there is no such stream. It returns how long the stream keeps them.
func (c *Conn) eachSince(ctx context.Context, name string, since time.Time, do func(direct.Message) error) (time.Duration, error) {
	at, err := direct.PositionOf(ctx, c.js, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, jobs.ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	_, err = direct.Read(ctx, c.js, direct.Query{Stream: name, Since: since, Until: at.Reached()}, do)
	return at.MaxAge, err
}

// EnqueueCheck implements jobs.CheckQueue. A copy is harmless: the record says when the next look is due.
func (a *Announcer) EnqueueCheck(ctx context.Context, j jobs.Job, r jobs.Record) error {
	j.Round = r.Round
	data, err := json.Marshal(newJobMessage(j, a.carried(j.Params)))
	if err != nil {
		return fmt.Errorf("encoding the check of job %s: %w", r.JobID, err)
	}
	msg, id := &nats.Msg{Subject: a.conn.names.Check(r.Kind), Data: data}, ".check"
	if r.Verdict() != jobs.VerdictPending {
		msg.Subject, id = a.conn.names.Watch(r.Kind), ".watch"
	}
	if j.Wake { // What an operator asks for is never dropped.
		return a.conn.publish(ctx, msg, "")
	}
	return a.conn.publish(ctx, msg, roundID(r.JobID+id, r.Round))
}

// carried are the parameters as a check carries them: their secrets sealed. Where there is no key, a secret that intake.plaintext
// allowed in the job's message is in that of its check, too.
func (a *Announcer) carried(p jobs.Params) map[string]string {
	if sealed, err := p.Seal(a.sealer); err == nil {
		return sealed.Carried()
	}
	return p.Carried()
}

// AnnounceVerdict publishes the dead letter of a target that is alive, where that is asked for, and then the verdict.
func (a *Announcer) AnnounceVerdict(ctx context.Context, j jobs.Job, r jobs.Record, deadLetter, maybeSent bool) error {
	verdict := r.Verdict()
	id := roundID(r.JobID+"."+string(verdict), r.Round)
	if verdict.Alive() && deadLetter {
		msg, err := a.deadJob(j, r, string(verdict), r.Proof.Why())
		if err != nil {
			return err
		}
		if err := a.conn.publishOnce(ctx, a.conn.names.DeadLetters(), msg, id+".dead", maybeSent, r.FinishedAt); err != nil {
			return err
		}
	}
	msg, err := a.event(r, a.conn.names.Proof(r.Kind, verdict), Result{ID: id, Type: notify.TypeProof, Time: r.Proof.CheckedAt})
	if err != nil {
		return err
	}
	return a.conn.once(ctx, a.conn.names.Results(), msg, id, maybeSent, r.FinishedAt, func(ctx context.Context) error { return a.tie(ctx, a.proofs, msg, id) })
}

// Repeater asks for jobs once more whose targets are back.
type Repeater struct{ conn *Conn }

// NewRepeater returns the repeater of a namespace.
func NewRepeater(c *Conn) Repeater { return Repeater{c} }

// Repeat publishes a request of a job under the id, which the ledger knows again.
func (r Repeater) Repeat(ctx context.Context, id string, request map[string]any) error {
	_, err := r.conn.PublishRequest(ctx, jobs.ClassOperator, jobs.SourceRepeat, id, request)
	return err
}

// Trail stores reports of refused requests among the results, in a chain of their own. It implements refused.Trail.
type Trail struct {
	conn  *Conn
	chain *audit.Chain
}

// NewTrail returns the trail of a worker's process.
func NewTrail(c *Conn, chain *audit.Chain) Trail { return Trail{c, chain} }

// StoreRefusals stores a report once.
func (t Trail) StoreRefusals(ctx context.Context, id string, r refused.Report, maybeStored bool) error {
	if err := t.conn.Ready(); err != nil {
		return err
	}
	data, err := json.Marshal(refusalEvent{
		SpecVersion: "1.0", ID: id, Source: t.conn.names.Namespace, Type: refused.Type, Time: r.Until, DataContentType: "application/json", Data: r,
	})
	if err != nil {
		return fmt.Errorf("encoding a report of refused requests: %w", err)
	}
	msg := &nats.Msg{Subject: t.conn.names.Refused(), Data: data, Header: nats.Header{"Content-Type": []string{event.CloudEventsJSON}}}
	return t.conn.once(ctx, t.conn.names.Results(), msg, id, maybeStored, r.From, func(ctx context.Context) error { return t.conn.tie(ctx, t.chain, msg, id) })
}

// refusalEvent is a report of refused requests as a CloudEvent 1.0.
type refusalEvent struct {
	SpecVersion     string         `json:"specversion"`
	ID              string         `json:"id"`
	Source          string         `json:"source"`
	Type            string         `json:"type"`
	Time            time.Time      `json:"time"`
	DataContentType string         `json:"datacontenttype"`
	Data            refused.Report `json:"data"`
}
