package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rekey/internal/config"
	"rekey/internal/notify"
	"rekey/internal/redact"
	"rekey/internal/schedule"
	"rekey/internal/secret"
	"rekey/internal/wire"
)

// configuration looks at what the file alone can tell.
func (p *checkup) configuration(context.Context) []Finding {
	c := p.cfg
	list := []Finding{{
		What: "file", Status: OK,
		Found: fmt.Sprintf("%s: accounts %d, policies %d, schedules %d", p.File, len(c.Atlas.Accounts), len(c.Policies.List), len(c.Schedules)),
	}}
	if isRoot() {
		list = append(list, Finding{
			What: "user", Status: Warning, Found: "root, who may read and write everything",
			Do: "run this as the worker's own user (kubectl exec, setpriv --reuid): files and folders are judged by what we may do",
		})
	}
	if len(c.Atlas.Accounts) == 0 {
		list = append(list, Finding{
			What: "accounts", Status: Failed, Found: "none: every request will be refused", Do: "add one under atlas.accounts",
		})
	}
	if c.Worker.DryRun {
		list = append(list, Finding{
			What: "dry run", Status: Warning, Found: "worker.dry_run is on: no credential is revoked", Do: "set worker.dry_run: false",
		})
	}
	for _, a := range c.Atlas.Accounts {
		if a.AllowSelf {
			list = append(list, Finding{
				What: "account " + a.Name, Status: Warning, Found: "allow_self is on: a job may take this account from the worker",
				Do: "set allow_self: false, unless that is meant",
			})
		}
	}
	list = append(list, p.search())
	list = append(list, p.policies()...)
	for i := range c.Schedules {
		list = append(list, p.schedule(&c.Schedules[i]))
	}
	return list
}

// search says where the worker answers searches from, or why it answers none.
func (p *checkup) search() Finding {
	f := Finding{What: "search", Status: OK}
	switch dir := wire.SearchDir(p.cfg); {
	case p.cfg.Search.Off:
		f.Status, f.Found = Skipped, "off (search.off): where no other worker answers, commands and pages read the streams themselves"
	case p.cfg.SearchInClear():
		f.Status, f.Found = Warning, "off: the store is encrypted, and the file of the search would not be; commands and pages read the streams, and keep what they read in memory"
		f.Do = "set search.dir to a folder where the file may be in the clear, such as one on an encrypted file system; or search.off: true"
	case dir != "":
		f.Found = "answered from a file in " + dir
	default:
		f.Found = "answered from a temporary file, which is made anew with every start; search.dir keeps it"
	}
	return f
}

// policies were compiled when the configuration was loaded; their mistakes would have ended that.
func (p *checkup) policies() []Finding {
	if len(p.cfg.Policies.List) == 0 {
		return []Finding{{What: "policies", Status: Skipped, Found: "none: only direct requests and schedules make jobs"}}
	}
	var dry []string
	for _, rule := range p.cfg.Policies.List {
		if rule.DryRun {
			dry = append(dry, rule.Name)
		}
	}
	list := []Finding{{What: "policies", Status: OK, Found: "compile: " + strings.Join(wire.PolicyNames(p.cfg), ", ")}}
	if len(dry) > 0 {
		list = append(list, Finding{
			What: "policies", Status: Warning, Found: "dry run, revoking nothing: " + strings.Join(dry, ", "),
			Do: "take dry_run out of a policy when its jobs are as they should be (worker job ls)",
		})
	}
	return list
}

// schedule says when a schedule fires next, by its own clock.
func (p *checkup) schedule(s *config.Schedule) Finding {
	f := Finding{What: "schedule " + s.Name, Status: Failed}
	spec, err := s.Spec()
	if err != nil {
		f.Found, f.Do = err.Error(), "correct schedules: cron and time_zone (an IANA name such as Europe/Berlin)"
		return f
	}
	next := schedule.NextFire(spec, p.now)
	if next.IsZero() {
		f.Found, f.Do = "never fires", "correct its cron, or its not_during: 'worker schedule next "+s.Name+"' shows the ticks"
		return f
	}
	zone, err := time.LoadLocation(s.TimeZone)
	if err != nil {
		f.Found, f.Do = err.Error(), "correct time_zone: an IANA name such as Europe/Berlin"
		return f
	}
	f.Status, f.Found = OK, fmt.Sprintf("%s fires next on %s (%s)", s.Job.Kind, next.In(zone).Format("2006-01-02 15:04:05 MST"), s.TimeZone)
	return f
}

// places are those of the secrets that a worker with this configuration uses.
func (p *checkup) places() []redact.Place {
	const nats, embedded, tls = "nats.", "nats.embedded.", "nats.tls."
	return slices.DeleteFunc(p.cfg.Secrets(), func(place redact.Place) bool {
		switch {
		case strings.HasPrefix(place.Key, embedded):
			return !p.cfg.NATS.IsEmbedded()
		case strings.HasPrefix(place.Key, nats) && !strings.HasPrefix(place.Key, tls):
			return p.cfg.NATS.IsEmbedded()
		}
		return false
	})
}

// receivers says whether notifications can be sent as far as addresses and secrets go. Nothing is sent.
func (p *checkup) receivers() []Finding {
	var list []Finding
	sender := notify.NewSender(p.Version, p.LookupEnv)
	for _, t := range wire.Receivers(p.cfg) {
		f := Finding{What: "receiver " + t.Name, Status: OK, Found: fmt.Sprintf("%s: its address and secrets can be used", t.Type)}
		if err := sender.Check(&t); err != nil {
			f.Status, f.Found = Failed, strings.ReplaceAll(err.Error(), "\n", "; ")
			f.Do = "correct the file or variable; no job waits for it. Then: worker receiver test " + t.Name
		}
		list = append(list, f)
	}
	return list
}

// doors says whether doors can verify what is posted: their secrets, and the keys of issuers.
func (p *checkup) doors(ctx context.Context) []Finding {
	if len(p.cfg.API.Doors) == 0 {
		return nil
	}
	trial, err := wire.NewDoorTrial(p.cfg, p.LookupEnv, nil)
	if err != nil {
		return []Finding{{What: "doors", Status: Failed, Found: plain(err), Do: "correct api.doors"}}
	}
	problems := trial.Check(ctx)
	var list []Finding
	owner := map[string]string{}
	for _, c := range p.cfg.API.Clients {
		p.shared(owner, "api client "+c.Name, c.Token)
	}
	for _, d := range p.cfg.API.Doors {
		f := Finding{What: "door " + d.Name, Status: OK, Found: fmt.Sprintf("%s: it can verify what is posted", d.Type)}
		other := p.shared(owner, "door "+d.Name, d.Secret, d.Token, d.Password)
		if err := problems[d.Name]; err != nil {
			f.Status, f.Found = Failed, plain(err)
			f.Do = "correct the file or variable, or make the issuer's address reachable; until then its sender gets 503. Then: worker door test " + d.Name + " SAMPLE"
		} else if other != "" {
			f.Status, f.Found = Warning, "it has a secret of "+other+": who has a request to one of them may be able to use it at the other"
			f.Do = "give each sender a secret of its own: openssl rand -hex 32"
		}
		list = append(list, f)
	}
	return list
}

// shared returns another owner of one of the secrets in these places, "" where there is none, and makes this the owner of the others.
func (p *checkup) shared(owner map[string]string, name string, places ...secret.Ref) (other string) {
	for _, place := range places {
		text, err := place.ReadLines(p.LookupEnv)
		if place.IsZero() || err != nil {
			continue // It is among the secrets.
		}
		for one := range strings.FieldsSeq(text.Reveal()) {
			mark := secret.New(one).Fingerprint()
			if taken, ok := owner[mark]; ok && taken != name {
				other = taken
				continue
			}
			owner[mark] = name
		}
	}
	return other
}

// secrets looks at the places of all secrets, and when they end.
func (p *checkup) secrets(ctx context.Context) []Finding {
	var list []Finding
	for _, place := range p.places() {
		list = append(list, Secret(place, p.LookupEnv))
	}
	list = append(list, p.receivers()...)
	list = append(list, p.doors(ctx)...)
	for _, a := range p.cfg.Atlas.Accounts {
		at, err := a.SecretExpiry()
		if err == nil && !at.IsZero() {
			renew := "make a new secret in Atlas, put it in the place of the old one, and correct secret_expires_at"
			list = append(list, Expiry("account "+a.Name+" expires", at, p.now, renew))
		}
	}
	list = append(list, p.certificate("api.tls.cert_file", p.cfg.API.TLS.CertFile, p.cfg.API.TLS.KeyFile)...)
	list = append(list, p.certificate("nats.tls.cert_file", p.cfg.NATS.TLS.CertFile, p.cfg.NATS.TLS.KeyFile)...)
	if e := p.cfg.NATS.Embedded.TLS; p.cfg.NATS.IsEmbedded() {
		list = append(list, p.certificate("nats.embedded.tls.cert_file", e.CertFile, e.KeyFile)...)
	}
	return append(list, p.sealing(), p.signing())
}

// certificate looks at a certificate and its key.
func (p *checkup) certificate(key, cert, private string) []Finding {
	if cert == "" {
		return nil
	}
	pair, err := wire.KeyPair(cert, private)
	if err != nil {
		return []Finding{{What: key, Status: Failed, Found: err.Error(), Do: "name a PEM certificate and its own key"}}
	}
	return []Finding{Expiry(key, pair.Leaf.NotAfter, p.now, "renew the certificate "+cert)}
}

// sealing looks at the keys of sealed values.
func (p *checkup) sealing() Finding {
	f := Finding{What: "sealing keys", Status: OK}
	keys, err := wire.KeysOf(p.cfg, func() []config.Account { return p.cfg.Atlas.Accounts }, p.LookupEnv)
	store := filepath.Join(p.cfg.NATS.Embedded.StoreDir, wire.StoreKey)
	_, statErr := os.Stat(store)
	switch {
	case err == nil && keys.ID() != "":
		f.Found = "values are sealed to " + keys.ID()
	case len(p.cfg.Seal.Keys) == 0 && p.cfg.NATS.IsEmbedded() && os.IsNotExist(statErr):
		f.Found = store + " will be made at the start"
	case len(p.cfg.Seal.Keys) == 0 && !p.cfg.NATS.IsEmbedded():
		f.Status, f.Found = Warning, "none yet: no secret of an account can be read, from which they are derived"
		f.Do = "configure seal.keys ('worker keygen' makes one; all workers of a fleet share it)"
	case len(p.cfg.Seal.Keys) == 0:
		f.Status, f.Found = Failed, fmt.Sprint(err)
		f.Do = "give nats.embedded.store_dir and what is in it to the worker's user; a worker has made the key there"
	default:
		f.Status, f.Found = Failed, fmt.Sprint(err)
		f.Do = "put a key there that 'worker keygen' has made, the same one for all workers"
	}
	return f
}

// signing looks at what is demanded of events' signatures, and at our own.
func (p *checkup) signing() Finding {
	f := Finding{What: "event signatures", Status: Skipped, Found: "off: every client that may publish in NATS may ask"}
	_, rules, err := wire.Signatures(p.cfg.Intake, p.LookupEnv)
	switch {
	case err != nil:
		f.Status, f.Found = Failed, err.Error()
		f.Do = "put a user's nkey seed there ('worker keygen --signing' makes one)"
	case rules.Required:
		f.Status, f.Found = OK, fmt.Sprintf("required; signers: %d", len(rules.Signers))
	}
	return f
}
