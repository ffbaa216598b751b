package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rekey/internal/bus"
	"rekey/internal/layout"
	"rekey/internal/stores"
	"rekey/internal/wire"
)

// jetStream looks at the account's limits.
func (p *checkup) jetStream(ctx context.Context) Finding {
	f := Finding{What: "jetstream", Status: OK}
	info, err := p.survey.JetStream(ctx)
	api, isAPI := errors.AsType[*jetstream.APIError](err)
	forbidden, isForbidden := errors.AsType[*bus.ForbiddenError](err)
	switch {
	case errors.Is(err, nats.ErrNoResponders), isAPI && api.ErrorCode == jetstream.JSErrCodeJetStreamNotEnabledForAccount, isAPI && api.ErrorCode == jetstream.JSErrCodeJetStreamNotEnabled:
		f.Status, f.Found = Failed, "is off, for the server or for this account"
		f.Do = "turn it on: jetstream {store_dir: …} in the server's configuration, and jetstream: enabled in the account's; " +
			"or, where the server is a leaf node, set nats.domain to the domain of the server that has the streams"
		if domain := p.cfg.NATS.Domain; domain != "" {
			f.Found = "no JetStream answers in the domain " + domain
			f.Do = "compare nats.domain with jetstream {domain: …} of the server that has the streams, and see whether the leaf node is connected to it"
		}
		return f
	case isForbidden && !forbidden.Subscribe:
		f.Status, f.Found, f.Do = Skipped, "its limits may not be read", fmt.Sprintf("add %q to publish.allow of this user to see them", forbidden.Subject)
		return f
	case err != nil:
		f.Status, f.Found, f.Do = Failed, err.Error(), "ask the cluster: nats server report jetstream; without a leader it does not answer"
		return f
	}
	limits := info.Limits
	f.Found = fmt.Sprintf("on%s; %d streams, %d MiB are used", inDomainOf(info.Domain), info.Streams, info.Store>>20)
	if limits.MaxStore > 0 {
		f.Found += fmt.Sprintf(" of %d MiB", limits.MaxStore>>20)
		if float64(info.Store) > 0.8*float64(limits.MaxStore) {
			f.Status, f.Do = Warning, "raise the account's max_store: a full one refuses new events"
		}
	}
	if need := len(p.sight(ctx).Streams); limits.MaxStreams > 0 && limits.MaxStreams < need {
		f.Status, f.Found = Failed, fmt.Sprintf("the account may have %d streams, a worker needs %d", limits.MaxStreams, need)
		f.Do = "raise the account's max_streams"
	}
	return f
}

func inDomainOf(domain string) string {
	if domain == "" {
		return ""
	}
	return ", in the domain " + domain
}

// buckets are those that a worker has.
func (p *checkup) buckets() []string {
	list := wire.BucketNames(p.names, p.cfg.NATS.Namespace)
	if !p.cfg.NATS.IsEmbedded() {
		list = append(list, p.names.Tokens())
	}
	return list
}

// streams looks at the streams, buckets and consumers, and at where they would break a promise.
func (p *checkup) streams(ctx context.Context) []Finding {
	if p.survey == nil {
		return []Finding{{What: "streams", Status: Skipped, Found: "NATS cannot be asked"}}
	}
	sight := p.sight(ctx)
	var good, missing []string
	list := unseen(sight.Streams)
	for _, s := range sight.Streams {
		list = append(list, judgeStream(s)...)
		switch {
		case s.Err != nil || s.Owner != "":
		case s.Missing:
			missing = append(missing, s.Name)
		case len(s.Weak)+len(s.Wrong) == 0:
			good = append(good, s.Name)
		}
	}
	if len(good) > 0 {
		list = append(list, Finding{What: "existing", Status: OK, Found: "as a worker makes them: " + strings.Join(good, ", ")})
	}
	if len(missing) > 0 {
		list = append(list, Finding{What: "missing", Status: OK, Found: "a worker makes them: " + strings.Join(missing, ", ")})
	}
	list = append(list, judgeConsumers(sight.Consumers)...)
	return append(append(list, p.copies()...), p.paused(ctx)...)
}

// judgeStream says where a stream breaks a promise, or keeps it less well.
func judgeStream(s layout.StreamSight) []Finding {
	const change = "change it with 'nats stream edit', or what made it (deploy/nats/nack.yaml has the definitions)"
	var list []Finding
	for _, wrong := range s.Wrong {
		list = append(list, Finding{What: s.Name, Status: Failed, Found: wrong, Do: change})
	}
	for _, weak := range s.Weak {
		list = append(list, Finding{What: s.Name, Status: Warning, Found: weak, Do: change})
	}
	if s.Owner != "" {
		for i := range list {
			list[i].Do = fmt.Sprintf("take the subjects out of the stream %s (nats stream edit %s --subjects …), or set another nats.namespace", s.Owner, s.Owner)
		}
	}
	return list
}

// judgeConsumers says which consumers are not what they must be. Those that are missing a worker makes.
func judgeConsumers(consumers []layout.ConsumerSight) []Finding {
	var list []Finding
	for _, c := range consumers {
		what := c.Stream + " " + c.Name
		forbidden, isForbidden := errors.AsType[*bus.ForbiddenError](c.Err)
		switch {
		case isForbidden && forbidden.Subscribe, errors.Is(c.Err, nats.ErrNoResponders): // The area nats says so.
		case isForbidden:
			list = append(list, Finding{
				What: what, Status: Failed, Found: c.Err.Error(),
				Do: fmt.Sprintf("add %q to publish.allow of this user (deploy/nats/permissions.conf)", forbidden.Subject),
			})
		case c.Err != nil:
			list = append(list, Finding{
				What: what, Status: Failed, Found: c.Err.Error(), Do: fmt.Sprintf("ask the cluster: nats consumer info %s %s", c.Stream, c.Name),
			})
		case len(c.Wrong) > 0:
			list = append(list, Finding{
				What: what, Status: Warning, Found: strings.Join(c.Wrong, "; "),
				Do: "find out what has changed it: a worker that runs sets it back within seconds",
			})
		}
	}
	return list
}

// copies says how many there are to be of each stream, where that cannot be or is few.
func (p *checkup) copies() []Finding {
	replicas := p.cfg.NATS.Replicas
	switch {
	case p.cfg.NATS.IsEmbedded():
		return nil
	case replicas > 1 && p.survey.Cluster() == "":
		return []Finding{{
			What: "copies", Status: Failed, Found: fmt.Sprintf("%d are configured, and the server is in no cluster: it makes no stream", replicas),
			Do: "set nats.replicas: 1, or use a cluster (deploy/nats)",
		}}
	case replicas == 1:
		return []Finding{{
			What: "copies", Status: Warning, Found: "each stream has one copy: a lost server is lost data",
			Do: "set nats.replicas: 3 in a cluster of three servers or more",
		}}
	}
	return nil
}

// unseen are the findings about what may not be looked at, or where the server does not answer: one for each reason.
func unseen(reports []layout.StreamSight) []Finding {
	var list []Finding
	names := map[string][]string{}
	for _, r := range reports {
		if r.Err == nil {
			continue
		}
		why := r.Err.Error()
		if names[why] = append(names[why], r.Name); len(names[why]) > 1 {
			continue
		}
		f := Finding{What: r.Name, Status: Failed, Found: why, Do: "ask the cluster: nats stream info " + r.Name}
		forbidden, ok := errors.AsType[*bus.ForbiddenError](r.Err)
		switch {
		case ok && !forbidden.Subscribe:
			f.Do = fmt.Sprintf("add %q to publish.allow of this user (deploy/nats/permissions.conf)", forbidden.Subject)
		case ok, errors.Is(r.Err, nats.ErrNoResponders):
			f.Status, f.Do = Skipped, "" // The area nats says so.
		}
		list = append(list, f)
	}
	for i := range list {
		if also := names[list[i].Found]; len(also) > 1 {
			list[i].What, list[i].Found = also[0]+" and others", fmt.Sprintf("%s (%d streams and buckets)", list[i].Found, len(also))
		}
	}
	return list
}

// sight is what is seen of all streams, buckets and consumers, once.
func (p *checkup) sight(ctx context.Context) layout.Sight {
	p.looked.Do(func() { p.seen = p.survey.Look(ctx, wire.Layout(p.cfg)) })
	return p.seen
}

// has reports whether there is a stream or bucket that can be read.
func (p *checkup) has(ctx context.Context, name string) bool {
	return slices.ContainsFunc(p.sight(ctx).Streams, func(s layout.StreamSight) bool { return s.Name == name && !s.Missing && s.Err == nil })
}

// paused are the findings about schedules that an operator has paused for the whole fleet.
func (p *checkup) paused(ctx context.Context) []Finding {
	if len(p.cfg.Schedules) == 0 || !p.has(ctx, p.names.Schedules()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, portTimeout)
	defer cancel()
	store := stores.NewSchedules(p.survey.Conn())
	var list []Finding
	for _, s := range p.cfg.Schedules {
		state, _, err := store.Load(ctx, s.Name)
		switch {
		case err != nil:
			list = append(list, Finding{What: "schedule " + s.Name, Status: Skipped, Found: "whether it is paused is not known: " + err.Error()})
		case state.IsPaused():
			list = append(list, Finding{
				What: "schedule " + s.Name, Status: Warning,
				Found: fmt.Sprintf("paused since %s by %s: %s", state.Pause.At.UTC().Format("2006-01-02 15:04 MST"), state.Pause.By, state.Pause.Reason),
				Do:    "worker schedule resume " + s.Name + " --reason …, when it is to fire again",
			})
		}
	}
	return list
}
