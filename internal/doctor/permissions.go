package doctor

import (
	"slices"
	"strings"

	"rekey/internal/layout"
)

// Need is something that a worker must be allowed to do in NATS.
type Need struct {
	// Subscribe tells a subscription from a publication.
	Subscribe bool
	// Grant is the line of a server's configuration that allows it.
	Grant string
	// Subjects are subjects as the worker uses them; in a place where any token may be, they have an example.
	Subjects []string
	// For says what cannot be done without it.
	For string
}

// Verb is what must be allowed: publish or subscribe.
func (n Need) Verb() string {
	if n.Subscribe {
		return "subscribe"
	}
	return "publish"
}

// Rules are the subjects that a user may use, and those that it may not although they are among the former.
type Rules struct {
	Allow []string `json:"allow"` // Empty: all.
	Deny  []string `json:"deny"`
}

// Permissions are what a NATS server allows a user.
type Permissions struct {
	Publish   Rules `json:"publish"`
	Subscribe Rules `json:"subscribe"`
}

// Missing is a need that is not met.
type Missing struct {
	Need
	Subject string // The first one that is not allowed.
	Denied  string // The line that denies it. Empty: no line allows it.
}

// Missing returns the needs that the permissions do not meet.
func (p Permissions) Missing(needs []Need) []Missing {
	var list []Missing
	for _, need := range needs {
		rules := p.Publish
		if need.Subscribe {
			rules = p.Subscribe
		}
		for _, subject := range need.Subjects {
			if denied, ok := rules.allows(subject); !ok {
				list = append(list, Missing{Need: need, Subject: subject, Denied: denied})
				break
			}
		}
	}
	return list
}

// allows reports whether a subject is allowed, and if not, which line denies it.
func (r Rules) allows(subject string) (denied string, ok bool) {
	covers := func(pattern string) bool { return covers(pattern, subject) }
	if i := slices.IndexFunc(r.Deny, covers); i >= 0 {
		return r.Deny[i], false
	}
	return "", len(r.Allow) == 0 || slices.ContainsFunc(r.Allow, covers)
}

// covers reports whether a pattern of NATS (* for one token, > for one and all further ones) takes in a subject, which may
// be a pattern as well: then all that this one takes in.
func covers(pattern, subject string) bool {
	// A queue group may follow, as in "rekey.v1.result.> readers".
	pattern, _, _ = strings.Cut(pattern, " ")
	return layout.Covers(pattern, subject)
}
