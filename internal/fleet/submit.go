package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/redact"
	"rekey/internal/stores"
	"rekey/internal/wire"
)

// Submitted is what became of a request for a job.
type Submitted struct {
	JobID string // The job that it makes, or that a request of the same identity has made before.
	// Duplicate says that there is one already. It does what this request asks for.
	Duplicate bool
	// Meant says that a request of the same identity was a dry run, which is not the job of this one.
	Meant bool
}

// ErrOtherRequest says that the identity of a request is that of a job that does something else.
var ErrOtherRequest = errors.New("a request with this id was made before and asks for something else; give this one another id")

// sameRequest reports, as ErrOtherRequest, that a job does something else than a request asks for. What a request to contain a
// leak is may not be known here.
func (c *Client) sameRequest(r jobs.PublicRecord, req jobs.Request, p jobs.Params) error {
	if kinds.Of(req.Kind).Becomes != nil {
		req.Params = p
		became, err := req.Become(wire.Sealer{Keyring: c.keys})
		if c.keys == nil || err != nil || became.Contained == "" {
			return nil //nolint:nilerr // The worker says what it makes of it.
		}
		req, p = became, became.Params
	}
	if r.Kind != req.Kind || p.Known() && r.Target != jobs.Target(req.Kind, p) || req.Account != "" && r.Account != req.Account {
		return fmt.Errorf("job %s: %w", r.JobID, ErrOtherRequest)
	}
	return nil
}

// Ask is a request for a job.
type Ask struct {
	Source, ID string         // The identity of its event.
	Class      string         // Of its event. Empty: that of operators.
	Sender     string         // The client of the HTTP API that was authenticated; "" for none.
	Trace      string         // The traceparent that it belongs to; "" for none.
	Fields     map[string]any // The request object.
}

// Submit publishes a request for a job. source and id are the event's identity. A secret in the
// clear is sealed first where the configuration says with which key.
func (c *Client) Submit(ctx context.Context, source, id string, request map[string]any) (Submitted, error) {
	return c.Ask(ctx, Ask{Source: source, ID: id, Fields: request})
}

// Ask publishes a request for a job, as Submit does.
func (c *Client) Ask(ctx context.Context, a Ask) (Submitted, error) {
	req, fields, err := c.discreet(a)
	if err != nil {
		return Submitted{}, err
	}
	params, err := c.secure(req.Kind, req.Params)
	if err != nil {
		return Submitted{}, err
	}
	fields["params"] = params.Carried()
	done := Submitted{JobID: req.JobID(a.Source, a.ID)}
	earlier, err := c.ledger.Find(ctx, done.JobID)
	if done.Meant = err == nil && earlier.DryRun && !req.DryRun && !c.dryFleet(ctx); done.Meant {
		earlier, err = jobs.PublicRecord{}, jobs.ErrNotFound
	}
	if done.Duplicate = err == nil; done.Duplicate {
		err = c.sameRequest(earlier, req, params)
	}
	if id := earlier.Extension(req.ExpiresAt); err == nil && id != "" {
		done.JobID = id
		_, err = c.ledger.Find(ctx, id)
		done.Duplicate = err == nil
	}
	if err != nil && !errors.Is(err, jobs.ErrNotFound) {
		return done, err
	}
	_, err = c.conn.PublishDirect(ctx, bus.Direct{
		Class: cmp.Or(a.Class, jobs.ClassOperator), Source: a.Source, ID: a.ID, Sender: a.Sender, Trace: a.Trace, Request: fields,
	})
	return done, maybeStored(err)
}

// ErrMaybeStored says that the server has not acknowledged an event that it may have stored. The same event once more makes no
// second job.
var ErrMaybeStored = errors.New("NATS has not acknowledged the event, which may be stored")

// maybeStored is an error of a publication, as ErrMaybeStored where it does not say that nothing was stored.
func maybeStored(err error) error {
	if err == nil || bus.IsRefused(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrMaybeStored, err)
}

// OnlyAccount is the account of requests that name none; "" where several are configured.
func (c *Client) OnlyAccount() string {
	if accounts := c.config.Atlas.Accounts; len(accounts) == 1 {
		return accounts[0].Name
	}
	return ""
}

// Discreet is a text that is recorded, without the worker's secrets and anything that looks like a credential.
func (c *Client) Discreet(text string) string { return redact.Scrub(text, c.known.Set()) }

// discreet returns a request whose texts show no credential, as intake would make it of its event: that is stored before.
func (c *Client) discreet(a Ask) (jobs.Request, map[string]any, error) {
	req, err := jobs.ParseRequest(jobs.Document{Fields: a.Fields})
	if err != nil {
		return req, nil, err
	}
	e := jobs.Event{EventRef: jobs.EventRef{Source: a.Source, ID: a.ID}, Direct: true, Request: req}
	if err := e.Scrub(c.known.Set(), redact.NewSet(req.Params.InClear()...)); err != nil {
		return req, nil, err
	}
	fields := maps.Clone(a.Fields)
	for name, text := range map[string]string{"reason": e.Request.Reason, "requested_by": e.Request.RequestedBy, "on_behalf_of": e.Request.OnBehalfOf} {
		if text != "" {
			fields[name] = text
		}
	}
	return e.Request, fields, nil
}

// dryFleet reports whether the workers are known to make a dry run of every job.
func (c *Client) dryFleet(ctx context.Context) bool {
	dry := false
	// Without the rules the request is taken as it is.
	_ = c.attempt(ctx, rulesTimeout, func(ctx context.Context) error {
		rules, err := stores.LoadRules(ctx, c.conn)
		dry = rules.DryRun
		return err
	})
	return dry
}

// secure opens and seals parameters as far as there are keys here. Without keys, the
// worker does it.
func (c *Client) secure(kind jobs.Kind, p jobs.Params) (jobs.Params, error) {
	if c.keys == nil {
		return p, nil
	}
	opened, err := p.Open(wire.Sealer{Keyring: c.keys})
	if err != nil {
		return p, nil //nolint:nilerr // The worker may have the key, and says so if not.
	}
	if err := opened.CheckSealed(kind); err != nil {
		return p, err
	}
	if c.config.Intake.Plaintext == jobs.PlaintextAllow {
		return opened, nil
	}
	return opened.Seal(wire.Sealer{Keyring: c.keys})
}
