package doctor

import (
	"context"
	"net"
	"net/url"
	"sync"
	"time"

	"rekey/internal/natsserver"
	"rekey/internal/notify"
	"rekey/internal/tracing"
	"rekey/internal/vault"
)

// ports looks at where the worker listens.
func (p *checkup) ports(ctx context.Context) []Finding {
	var list []Finding
	look := func(l Listener) {
		if l.Address == "" {
			list = append(list, Finding{What: l.Key, Status: Skipped, Found: "empty: nothing listens"})
			return
		}
		l.Root = isRoot()
		list = append(list, l.Look(ctx))
	}
	look(Listener{Key: "http.listen", Address: p.cfg.HTTP.Listen, Ask: AskHTTP})
	if p.cfg.API.Listen != "" {
		look(Listener{Key: "api.listen", Address: p.cfg.API.Listen, Ask: AskAPI(p.cfg.API.TLS.CertFile != "")})
		list = append(list, p.api()...)
	}
	if p.cfg.NATS.IsEmbedded() {
		look(Listener{Key: "nats.embedded.listen", Address: p.cfg.NATS.Embedded.Listen, Ask: AskNATS(natsserver.Name)})
	}
	return list
}

// services looks at what else the worker talks to.
func (p *checkup) services(ctx context.Context) []Finding {
	list := make([]Finding, len(p.cfg.Receivers)+2)
	sender := notify.NewSender(p.Version, p.LookupEnv)
	defer sender.Close()
	var running sync.WaitGroup
	for i := range p.cfg.Receivers {
		running.Go(func() { list[i] = reach(ctx, sender, p.cfg.Receivers[i].Receiver()) })
	}
	running.Go(func() { list[len(p.cfg.Receivers)] = p.vault(ctx) })
	running.Go(func() { list[len(p.cfg.Receivers)+1] = p.traces(ctx) })
	running.Wait()
	return list
}

// reach looks whether a receiver can be reached. Nothing is sent to it.
func reach(ctx context.Context, sender *notify.Sender, t notify.Receiver) Finding {
	f := Finding{What: "receiver " + t.Name, Status: OK, Found: "can be reached; nothing was sent"}
	ctx, cancel := context.WithTimeout(ctx, min(t.Timeout, portTimeout))
	defer cancel()
	if sender.Check(&t) != nil {
		f.Status, f.Found = Skipped, "not with what is among the secrets above"
		return f
	}
	proxied, err := sender.Reach(ctx, &t)
	switch {
	case err != nil && proxied:
		f.Status, f.Found = Warning, "its proxy cannot be reached: "+err.Error()
		f.Do = "correct HTTPS_PROXY, or NO_PROXY, in the worker's environment; notifications wait, and no job waits for them"
	case err != nil:
		f.Status, f.Found = Warning, "cannot be reached: "+err.Error()
		f.Do = "correct what is in the " + t.Place() + ", or see what is in between; notifications wait, and no job waits for them"
	case proxied:
		f.Status, f.Found = Skipped, "its proxy can be reached; what is behind shows with 'worker receiver test "+t.Name+"'"
	}
	return f
}

// vault looks whether Vault is there and takes our token.
func (p *checkup) vault(ctx context.Context) Finding {
	f := Finding{What: "vault", Status: Failed}
	c := p.cfg.Vault
	if c.Address == "" {
		f.Status, f.Found = Skipped, "not configured"
		return f
	}
	client, err := vault.New(vault.Config{
		Address: c.Address, Token: c.Token, Namespace: c.Namespace, Mount: c.Mount, CAFile: c.CAFile,
		Timeout: min(c.Timeout, apiTimeout), LookupEnv: p.LookupEnv,
	})
	if err != nil {
		f.Found, f.Do = err.Error(), "correct the section vault"
		return f
	}
	status, err := client.Status(ctx)
	switch {
	case err != nil:
		f.Found, f.Do = err.Error(), "see vault.address, vault.ca_file and vault.token: the worker's token may have ended"
	case status.Sealed:
		f.Found, f.Do = "Vault "+status.Version+" is sealed", "unseal it: vault operator unseal"
	default:
		f.Status, f.Found = OK, "Vault "+status.Version+" at "+c.Address+" takes the token"
		if status.Expires.IsZero() {
			return f
		}
		f.Found += ", which ends on " + status.Expires.UTC().Format("2006-01-02 15:04 MST")
		if !status.Renewable && time.Until(status.Expires) < 24*time.Hour {
			f.Status, f.Do = Warning, "make a new token, or let an agent renew vault.token_file"
		}
	}
	return f
}

// traces looks whether a receiver listens where spans are sent.
func (p *checkup) traces(ctx context.Context) Finding {
	f := Finding{What: "traces", Status: Skipped, Found: "off: no OTEL_EXPORTER_OTLP_ENDPOINT"}
	endpoint, err := tracing.Endpoint(p.LookupEnv)
	if err != nil {
		f.Status, f.Found, f.Do = Failed, err.Error(), "correct the variable in the worker's environment: it does not start with this one"
		return f
	}
	if endpoint == "" {
		return f
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		f.Status, f.Found, f.Do = Failed, "the OTLP endpoint is no URL", "set OTEL_EXPORTER_OTLP_ENDPOINT to a URL such as http://localhost:4318"
		return f
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	conn, err := (&net.Dialer{Timeout: portTimeout}).DialContext(ctx, "tcp", host)
	if err != nil {
		f.Status, f.Found, f.Do = Warning, "no answer: "+err.Error(), "start the receiver, or correct OTEL_EXPORTER_OTLP_ENDPOINT; jobs run without it"
		return f
	}
	_ = conn.Close() // Nothing was written.
	f.Status, f.Found = OK, host+" is open"
	return f
}
