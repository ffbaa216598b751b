package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"rekey/internal/bus"
	"rekey/internal/config"
	"rekey/internal/layout"
	"rekey/internal/names"
	"rekey/internal/redact"
	"rekey/internal/wire"
)

// The areas of what a doctor finds, in the order in which they are shown.
const (
	areaConfig   = "configuration"
	areaSecrets  = "secrets"
	areaNATS     = "nats"
	areaStreams  = "streams"
	areaPorts    = "ports"
	areaAccounts = "accounts"
	areaServices = "services"
)

// How long each check may take.
const (
	homeTimeout    = 5 * time.Second // Files and clocks of this machine.
	natsTimeout    = 20 * time.Second
	portTimeout    = 5 * time.Second
	atlasTimeout   = 45 * time.Second // All accounts together.
	serviceTimeout = 15 * time.Second
)

// Doctor says what is to be examined.
type Doctor struct {
	File      string // The configuration file.
	Version   string // Of this binary.
	LookupEnv func(string) (string, bool)
	// Fresh asks the API for new bearer tokens, although the fleet may have some: only that proves a secret.
	Fresh bool
}

// checkup is what is examined, once its configuration could be read.
type checkup struct {
	Doctor
	cfg    *config.Config
	known  *redact.Known
	names  names.Names
	now    time.Time
	survey *bus.Survey // Nil: NATS cannot be reached, for the reason that follows.
	away   error

	looked sync.Once // At what is in seen.
	seen   layout.Sight
}

// Examine looks whether a worker would work with the configuration, in this place and now, and what to do where it would
// not. It changes nothing, here, in NATS or at the API: it asks, and reads. Its checks are independent of each other.
func (d Doctor) Examine(ctx context.Context) []Finding {
	cfg, err := config.Load(d.File)
	if err != nil {
		return unreadable(err)
	}
	p := &checkup{Doctor: d, cfg: cfg, known: wire.KnownSecrets(cfg, d.LookupEnv), names: names.New(cfg.NATS.Namespace), now: time.Now()}
	p.connect()
	if p.survey != nil {
		defer p.survey.Close()
	}
	list := Run(ctx, p.checks())
	for i := range list { // What services answer may repeat a secret.
		list[i].Found = p.known.Hide(list[i].Found)
	}
	return list
}

// checks are all checks, in the order in which their findings are shown. A new one is added here.
func (p *checkup) checks() []Check {
	return []Check{
		{Area: areaConfig, What: "file", Timeout: homeTimeout, Run: p.configuration},
		{Area: areaSecrets, What: "files", Timeout: homeTimeout, Run: p.secrets},
		{Area: areaNATS, What: "server", Timeout: natsTimeout, Run: p.nats},
		{Area: areaStreams, What: "streams", Timeout: natsTimeout, Run: p.streams},
		{Area: areaPorts, What: "listen", Timeout: portTimeout, Run: p.ports},
		{Area: areaAccounts, What: "accounts", Timeout: atlasTimeout, Run: p.accounts},
		{Area: areaServices, What: "services", Timeout: serviceTimeout, Run: p.services},
		{Area: areaServices, What: "stores of rotations", Timeout: serviceTimeout, Run: p.rotations},
	}
}

// unreadable is what is found where the configuration cannot be read: each mistake, and that all else was left out.
func unreadable(err error) []Finding {
	var list []Finding
	invalid, ok := errors.AsType[*config.Invalid](err)
	if !ok {
		list = append(list, Finding{
			Area: areaConfig, What: "file", Status: Failed, Found: err.Error(), Do: "name the worker's configuration with -c FILE",
		})
	} else {
		for _, problem := range invalid.Problems {
			list = append(list, Finding{
				Area: areaConfig, What: fmt.Sprintf("line %d", problem.Line), Status: Failed, Found: cmp.Or(problem.File, invalid.File) + ":" + problem.String(),
				Do: "mend the line; docs/configure.md explains each key",
			})
		}
	}
	for _, area := range []string{areaSecrets, areaNATS, areaStreams, areaPorts, areaAccounts, areaServices} {
		list = append(list, Finding{Area: area, What: "everything", Status: Skipped, Found: "the configuration cannot be used"})
	}
	return list
}

// isRoot reports whether everything is allowed to us.
func isRoot() bool { return os.Geteuid() == 0 }
