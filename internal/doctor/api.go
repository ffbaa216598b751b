package doctor

import (
	"fmt"
	"slices"
	"strings"

	"rekey/internal/config"
	"rekey/internal/jobs"
	"rekey/internal/secret"
)

// api looks at the clients of the HTTP API. Whether their tokens and the certificate can be read is among the secrets.
func (p *checkup) api() []Finding {
	var list []Finding
	if len(p.cfg.API.Clients)+len(p.cfg.API.Doors) == 0 {
		list = append(list, Finding{What: "api.clients", Status: Warning, Found: "none, and no doors: every request is refused", Do: "add one under api.clients or api.doors"})
	}
	return append(list, p.tokens()...)
}

// weakToken is below how many bytes a token can be guessed.
const weakToken = 20

// tokens looks for tokens that can be guessed, and for one that two clients have: it recognises neither.
func (p *checkup) tokens() []Finding {
	var list []Finding
	owner := map[string]string{}
	for _, c := range p.cfg.API.Clients {
		if c.Token.IsZero() {
			continue
		}
		f := Finding{What: "api client " + c.Name, Status: OK, Found: c.Token.String()}
		text, err := c.Token.ReadLines(p.LookupEnv)
		if err != nil {
			continue // It is among the secrets.
		}
		for token := range strings.FieldsSeq(text.Reveal()) {
			mark := secret.New(token).Fingerprint()
			switch other, taken := owner[mark]; {
			case taken:
				f.Status, f.Found = Failed, "it has the same token as "+other+": neither is recognised by it"
				f.Do = "give each client a token of its own: head -c 32 /dev/urandom | base64"
			case len(token) < weakToken && f.Status == OK:
				f.Status, f.Found = Warning, fmt.Sprintf("its token has %d bytes, and could be guessed", len(token))
				f.Do = "make it longer: head -c 32 /dev/urandom | base64"
			}
			owner[mark] = c.Name
		}
		list = append(list, f)
	}
	return list
}

// httpClasses are the classes of the events that clients and doors of the HTTP API may publish.
func httpClasses(a *config.API) []string {
	if a.Listen == "" {
		return nil
	}
	var classes []string
	for _, c := range a.Clients {
		if slices.Contains(c.May, config.MayEvents) {
			classes = append(classes, c.Classes...)
			if len(c.Classes) == 0 {
				classes = append(classes, jobs.ClassIncident, jobs.ClassRotation)
			}
		}
	}
	for _, d := range a.Doors {
		classes = append(classes, d.Class)
	}
	slices.Sort(classes)
	return slices.Compact(classes)
}
