package fleet

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"rekey/internal/kinds"
	"rekey/internal/search"
)

// actEnding is how long before its end a person must deal with a secret or a certificate, as the alerts RekeySecretExpires and
// RekeyWatchedExpires do.
const actEnding = 14 * 24 * time.Hour

// Ending is something that ends by itself, and that the workers need or watch.
type Ending struct {
	Of   string    `json:"of"`   // kinds.EndingSecret, EndingCertificate or EndingMCPSecret.
	Name string    `json:"name"` // The name of the account, or of what is watched.
	At   time.Time `json:"at"`
}

// What names it for people.
func (e Ending) What() string {
	switch e.Of {
	case kinds.EndingCertificate:
		return "the last certificate of " + e.Name
	case kinds.EndingMCPSecret:
		return "the last secret of MCP configuration " + e.Name
	}
	return "the secret of account " + e.Name
}

// endings are those that workers know of, the first to end first. Where they differ, a worker has not read yet what the one with the later end has.
func endings(workers []search.Present) []Ending {
	var list []Ending
	add := func(of string, ends map[string]time.Time) {
		for name, at := range maps.All(ends) {
			i := slices.IndexFunc(list, func(e Ending) bool { return e.Of == of && e.Name == name })
			if i < 0 {
				list = append(list, Ending{Of: of, Name: name, At: at})
			} else if at.After(list[i].At) {
				list[i].At = at
			}
		}
	}
	for _, w := range workers {
		for of, ends := range maps.All(w.Ends) {
			add(of, ends)
		}
	}
	slices.SortFunc(list, func(a, b Ending) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.Of, b.Of), strings.Compare(a.Name, b.Name))
	})
	return list
}

// statusEndings says what ends, and of what a person must take care.
func (s *Status) statusEndings() {
	s.Ends = append(s.Ends, endings(s.Workers)...)
	for _, e := range s.Ends {
		what, do := e.What(), "make another one in Atlas, and give it to its users"
		if e.Of == kinds.EndingSecret {
			do = "rotate it, or give the account another one"
		}
		switch {
		case !e.At.After(s.At):
			s.act(Operator, do, "%s ended at %s", what, e.At.UTC().Format(time.RFC3339))
		case e.At.Sub(s.At) < actEnding:
			s.act(Operator, do, "%s ends at %s", what, e.At.UTC().Format(time.RFC3339))
		}
	}
}
