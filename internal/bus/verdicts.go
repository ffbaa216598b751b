package bus

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"

	"rekey/internal/jobs"
	"rekey/internal/notify"
)

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
