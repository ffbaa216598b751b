package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"rekey/internal/bus"
	"rekey/internal/fleet"
	"rekey/internal/natsserver"
	"rekey/internal/wire"
)

// What a NATS server must know: batches of direct reads (ADR-31) came with 2.11.
const (
	natsMajor = 2
	natsMinor = 11
)

// Free room on the disk of an embedded server's store.
const (
	roomNone = 16 << 20
	roomLow  = 1 << 30
)

// connect connects to NATS as a worker would; to an embedded server as a command would.
func (p *checkup) connect() {
	server, err := fleet.Reachable(p.cfg.NATS, "")
	if err == nil && p.cfg.NATS.IsEmbedded() && !natsserver.LookAtStore(p.cfg.NATS.Embedded.StoreDir).InUse {
		err = errors.New("no worker runs on this store; its server starts with it")
	}
	if err != nil {
		p.away = err
		return
	}
	cfg, err := wire.ConnectConfig(server, p.LookupEnv)
	if err != nil {
		p.away = err
		return
	}
	cfg.Name = "rekey doctor"
	p.survey, p.away = bus.OpenSurvey(cfg)
}

// nats looks at the server, at who we are there and what we may do.
func (p *checkup) nats(ctx context.Context) []Finding {
	var list []Finding
	if p.cfg.NATS.IsEmbedded() {
		list = append(list, p.store())
	}
	if p.survey == nil {
		return append(list, p.noServer(ctx))
	}
	list = append(list, p.server())
	list = append(list, p.user(ctx)...)
	list = append(list, p.jetStream(ctx))
	p.sight(ctx) // What the streams say of the server's clock counts, too.
	if clock := p.survey.Conn().Clock(); clock.Known() {
		least, most := clock.Bounds()
		skew := Skew{Sent: p.now, Got: p.now.Add(most - least), There: p.now.Add(most)}
		f := skew.Judge("the server's", time.Second, "what is between the clocks is taken into account; certificates and expiry dates go by this machine's")
		if err := clock.Check(); err != nil {
			f.Status, f.Found = Failed, err.Error()
		}
		list = append(list, f)
	}
	return list
}

// store looks at the folder of an embedded server.
func (p *checkup) store() Finding {
	dir := p.cfg.NATS.Embedded.StoreDir
	look := natsserver.LookAtStore(dir)
	f := Finding{What: "store", Status: OK, Found: dir + ": ready for a worker"}
	switch {
	case look.Err != nil:
		f.Status, f.Found = Failed, fmt.Sprintf("%s: %v", dir, look.Err)
		f.Do = "let nats.embedded.store_dir be a folder that belongs to the worker's user"
		return f
	case look.InUse:
		f.Found = dir + ": in use by a running worker; a second one needs a store of its own"
	case look.Missing:
		f.Found = dir + ": will be made at the start"
	}
	if look.Free > 0 {
		f.Found += fmt.Sprintf("; %d MiB are free", look.Free>>20)
	}
	if look.Free > 0 && look.Free < roomLow {
		f.Status, f.Do = Warning, "make room on the disk of "+dir+": a full one refuses new events"
	}
	if look.Free > 0 && look.Free < roomNone {
		f.Status = Failed
	}
	return f
}

// noServer says why NATS cannot be asked.
func (p *checkup) noServer(ctx context.Context) Finding {
	f := Finding{What: "server", Status: Failed, Found: p.away.Error()}
	n := p.cfg.NATS
	inUse := n.IsEmbedded() && natsserver.LookAtStore(n.Embedded.StoreDir).InUse
	switch {
	case n.IsEmbedded() && (n.Embedded.Listen == "" || !inUse):
		f.Status = Skipped
	case n.IsEmbedded():
		f.Do = "compare nats.embedded with what the running worker was started with: a change of it needs a restart"
	case errors.Is(p.away, nats.ErrAuthorization), errors.Is(p.away, nats.ErrAuthExpired), errors.Is(p.away, nats.ErrAuthRevoked):
		f.Do = "the server does not know these credentials: compare nats.credentials_file, nkey_file, user or token with its users (docs/security.md)"
	case errors.Is(p.away, nats.ErrNoServers):
		f.Found += fleet.Unreachable(ctx, p.cfg.NATS.URL)
		f.Do = "start the server, or correct nats.url; a firewall or NetworkPolicy may be in between"
	case isNetwork(p.away):
		f.Do = "correct nats.url, or see what is in between: name service, firewall, NetworkPolicy"
	case strings.Contains(p.away.Error(), "tls:"), strings.Contains(p.away.Error(), "x509:"), errors.Is(p.away, nats.ErrSecureConnRequired):
		f.Do = "compare nats.url (tls://) and nats.tls.ca_file, cert_file and key_file with the server's tls block"
	default:
		f.Do = "see secrets above, whether a NATS server is at nats.url, and its log"
	}
	return f
}

// isNetwork reports whether an error is one of the way to a server.
func isNetwork(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op == "dial"
	}
	return false
}

// server says which server it is.
func (p *checkup) server() Finding {
	version := p.survey.Version()
	f := Finding{What: "server", Status: OK, Found: "NATS " + version + " at " + p.survey.Where()}
	switch {
	case !atLeast(version, natsMajor, natsMinor):
		f.Status = Failed
		f.Do = fmt.Sprintf("use NATS %d.%d or later: the ledger is read in batches, which older servers do not know", natsMajor, natsMinor)
	case p.survey.Encrypted():
		f.Found += ", encrypted"
	case !p.onLoopback():
		f.Status, f.Do = Warning, "use tls:// in nats.url: events and tokens pass the network in the clear"
	}
	return f
}

// onLoopback reports whether all of the server's addresses are on this machine.
func (p *checkup) onLoopback() bool {
	if p.cfg.NATS.IsEmbedded() {
		return true
	}
	for address := range strings.SplitSeq(p.cfg.NATS.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(address))
		if err != nil {
			return false
		}
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// atLeast compares versions such as 2.12.1-RC.1. One that cannot be read is taken to be new enough.
func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return true
	}
	a, errA := strconv.Atoi(parts[0])
	b, errB := strconv.Atoi(parts[1])
	return errA != nil || errB != nil || a > major || a == major && b >= minor
}

// user says who we are for the server, and which permissions a worker lacks.
func (p *checkup) user(ctx context.Context) []Finding {
	user, err := p.survey.User(ctx)
	if err != nil {
		return []Finding{unknownUser(err)}
	}
	list := []Finding{{What: "user", Status: OK, Found: fmt.Sprintf("%q in the account %q", user.Name, user.Account)}}
	if user.Expires > 0 {
		list = append(list, Expiry("credentials expire", p.now.Add(user.Expires), p.now, "make new credentials for nats.credentials_file"))
	}
	if user.Permissions == nil {
		return append(list, Finding{
			What: "permissions", Status: OK, Found: "everything is allowed; deploy/nats/permissions.conf has what a worker needs",
		})
	}
	granted := Permissions{Publish: Rules(user.Permissions.Publish), Subscribe: Rules(user.Permissions.Subscribe)}
	needs := p.needs()
	if user.Domain == needs.domain {
		needs.domain = "" // A server of the domain itself takes the prefix off before it looks at permissions.
	}
	lacking := granted.Missing(needs.list())
	for _, m := range lacking {
		f := Finding{
			What: "permissions", Status: Failed, Found: fmt.Sprintf("may not %s %s, for %s", m.Verb(), m.Grant, m.For),
			Do: fmt.Sprintf("add %q to %s.allow of this user (deploy/nats/permissions.conf, docs/security.md)", m.Grant, m.Verb()),
		}
		if m.Denied != "" {
			f.Do = fmt.Sprintf("take %q out of %s.deny of this user, as far as it takes in %s", m.Denied, m.Verb(), m.Subject)
		}
		list = append(list, f)
	}
	if len(lacking) == 0 {
		list = append(list, Finding{What: "permissions", Status: OK, Found: "all that a worker needs"})
	}
	return list
}

// unknownUser is what is found where the server does not say who we are.
func unknownUser(err error) Finding {
	f := Finding{What: "permissions", Status: Warning, Found: "the server does not say what this user may do: " + err.Error()}
	forbidden, ok := errors.AsType[*bus.ForbiddenError](err)
	switch {
	case ok && forbidden.Subscribe:
		f.Status, f.Found = Failed, "no answer can be heard: "+err.Error()
		f.Do = "set nats.inbox_prefix to the inboxes that the server gives this user, or allow it to subscribe to them"
	case ok:
		f.Do = fmt.Sprintf("add %q to publish.allow of this user, which reads only: then each missing permission is named; here only what can be read was tried", forbidden.Subject)
	case errors.Is(err, nats.ErrNoResponders):
		f.Status, f.Found = Skipped, "the server does not say what this user may do (it has no system account)"
	}
	return f
}

// needs are those of this configuration's worker.
func (p *checkup) needs() natsNeeds {
	n := natsNeeds{
		names: p.names, namespace: p.cfg.NATS.Namespace, inbox: p.cfg.NATS.InboxPrefix, domain: p.cfg.NATS.Domain, buckets: p.buckets(),
		receivers: wire.ReceiverNames(wire.Receivers(p.cfg)),
	}
	n.classes = httpClasses(&p.cfg.API)
	if p.cfg.Worker.Name != "" {
		host, err := os.Hostname()
		if err != nil {
			host = anything
		}
		n.worker = wire.WorkerName(p.cfg, host, 0, p.now)
	}
	return n
}
