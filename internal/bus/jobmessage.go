package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/jobs"
)

// jobMessage is a job on its way to a worker. It carries the secret parameters, sealed unless
// the clear is allowed: one message must.
type jobMessage struct {
	JobID       string            `json:"job_id"`
	Kind        string            `json:"kind"`
	Account     string            `json:"account"`
	Params      map[string]string `json:"params"`
	Digest      string            `json:"request_digest,omitempty"`
	Lane        string            `json:"lane"`
	Origin      string            `json:"origin"`
	Reason      string            `json:"reason,omitempty"`
	RequestedBy string            `json:"requested_by,omitempty"`
	OnBehalfOf  string            `json:"on_behalf_of,omitempty"`
	Policy      string            `json:"policy,omitempty"`
	DryRun      bool              `json:"dry_run,omitempty"`
	Event       jobs.EventRef     `json:"event"`
	AcceptedAt  time.Time         `json:"accepted_at"`
	ExpiresAt   time.Time         `json:"expires_at,omitzero"`
	Round       int               `json:"round,omitempty"`
	Wake        bool              `json:"wake,omitempty"`
	Trace       string            `json:"traceparent,omitempty"`
	Contained   string            `json:"contained,omitempty"`
	Unfit       string            `json:"unfit,omitempty"`
	NoProof     bool              `json:"no_proof,omitempty"`
}

func newJobMessage(j jobs.Job, params map[string]string) jobMessage {
	return jobMessage{
		JobID: j.ID, Kind: string(j.Kind), Account: j.Account, Params: params, Digest: j.Digest, Lane: string(j.Lane),
		Origin: string(j.Origin), Reason: j.Reason, RequestedBy: j.RequestedBy, OnBehalfOf: j.OnBehalfOf, Policy: j.Policy, DryRun: j.DryRun, Event: j.Event,
		AcceptedAt: j.AcceptedAt, ExpiresAt: j.ExpiresAt, Round: j.Round, Wake: j.Wake, Trace: j.Trace, Contained: j.Contained, Unfit: j.Unfit, NoProof: j.NoProof,
	}
}

func decodeJob(data []byte) (jobs.Job, error) {
	var m jobMessage
	if err := json.Unmarshal(data, &m); err != nil {
		return jobs.Job{}, fmt.Errorf("decoding a job: %w", unquoting(err))
	}
	kind, err := jobs.ParseKind(m.Kind)
	if err != nil {
		return jobs.Job{}, fmt.Errorf("decoding a job: %w", err)
	}
	lane, err := jobs.ParseLane(m.Lane)
	if err != nil {
		return jobs.Job{}, fmt.Errorf("decoding a job: %w", err)
	}
	params, err := m.params(kind)
	if err != nil {
		return jobs.Job{}, fmt.Errorf("decoding a job: %w", err)
	}
	j := jobs.Job{
		ID: m.JobID, Kind: kind, Account: m.Account, Params: params, Digest: m.Digest, Lane: lane, Origin: jobs.Origin(m.Origin),
		Reason: m.Reason, RequestedBy: m.RequestedBy, OnBehalfOf: m.OnBehalfOf, Policy: m.Policy, DryRun: m.DryRun, Event: m.Event, AcceptedAt: m.AcceptedAt, ExpiresAt: m.ExpiresAt,
		Round: m.Round, Wake: m.Wake, Trace: m.Trace, Contained: m.Contained, Unfit: m.Unfit, NoProof: m.NoProof,
	}
	if j.ID == "" {
		return jobs.Job{}, errors.New("decoding a job: it has no id")
	}
	return j, nil
}

// params are the parameters of the message; one that only wakes has none.
func (m jobMessage) params(kind jobs.Kind) (jobs.Params, error) {
	if m.Wake {
		return jobs.Params{}, nil
	}
	raw := make(map[string]any, len(m.Params))
	for name, value := range m.Params {
		raw[name] = value
	}
	return jobs.CarriedParams(kind, raw)
}

// unquoting is an error of the decoder without what it quotes: that can be a secret.
func unquoting(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return fmt.Errorf("%s has the wrong type", wrong.Field)
	}
	return errors.New("it is no JSON of a job")
}

// Queue implements jobs.Queue on the stream of jobs.
type Queue struct {
	conn *Conn
}

// NewQueue returns the queue of a namespace.
func NewQueue(c *Conn) *Queue { return &Queue{conn: c} }

// Enqueue publishes the job on its lane's subject. The message id lets the stream drop a
// copy that follows within its window; a later copy is harmless, for the ledger decides. What the job
// does is a part of it: two events of one identity that are taken in at once are no copies.
// What an operator asks for is never dropped: a message that only wakes may come after its
// job looked, and one for another round after its forerunner was forgotten for want of a record.
func (q *Queue) Enqueue(ctx context.Context, j jobs.Job) error {
	data, err := json.Marshal(newJobMessage(j, j.Params.Carried()))
	if err != nil {
		return fmt.Errorf("encoding job %s: %w", j.ID, err)
	}
	msg := &nats.Msg{Subject: q.conn.names.Job(j.Lane, j.Kind), Data: data}
	id := j.ID + "." + short(j.Digest) + "." + string(j.Lane)
	if j.Wake || j.Round > 0 {
		id = ""
	}
	return q.conn.publish(ctx, msg, id)
}

// short is as much of a digest as tells requests of one identity apart.
func short(digest string) string { return digest[:min(len(digest), 16)] }

// roundID is the message id of what a job does once per round.
func roundID(id string, round int) string {
	if round == 0 {
		return id
	}
	return id + "." + strconv.Itoa(round)
}

// publish stores a message and waits for the stream's acknowledgement. id, when not empty,
// is its Nats-Msg-Id.
func (c *Conn) publish(ctx context.Context, msg *nats.Msg, id string) error {
	_, err := c.send(ctx, msg, id)
	return err
}

// send is publish with the answer.
func (c *Conn) send(ctx context.Context, msg *nats.Msg, id string) (*jetstream.PubAck, error) {
	// A process that was paused goes on before its timers do.
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
		return nil, context.DeadlineExceeded
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var opts []jetstream.PublishOpt
	if id != "" {
		opts = append(opts, jetstream.WithMsgID(id))
	}
	ack, err := c.js.PublishMsg(ctx, msg, opts...)
	if err != nil {
		return nil, fmt.Errorf("publishing on %s: %w", msg.Subject, err)
	}
	return ack, nil
}
