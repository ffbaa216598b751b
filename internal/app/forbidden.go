package app

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"rekey/internal/bus"
	"rekey/internal/jobs"
	"rekey/internal/names"
)

// forbiddenFor is how long what NATS has refused counts: what a worker needs it asks for again within half a minute.
const forbiddenFor = 2 * time.Minute

// maxForbidden bounds the subjects that are remembered.
const maxForbidden = 20

// forbidden are the subjects that NATS has refused lately, of those without which work is not done. To a question on such a subject there is no answer, as
// if NATS were slow.
type forbidden struct {
	names names.Names

	mu sync.Mutex // Guards at.
	at map[bus.ForbiddenError]time.Time
}

// hear notes that a subject is forbidden.
func (f *forbidden) hear(e *bus.ForbiddenError) {
	if f.worksWithout(e.Subject) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == nil {
		f.at = map[bus.ForbiddenError]time.Time{}
	}
	now := time.Now()
	maps.DeleteFunc(f.at, func(_ bus.ForbiddenError, at time.Time) bool { return now.Sub(at) >= forbiddenFor })
	if which := (bus.ForbiddenError{Subject: grantOf(e.Subject), Subscribe: e.Subscribe}); len(f.at) < maxForbidden || !f.at[which].IsZero() {
		f.at[which] = now
	}
}

// check reports, as an error, what is forbidden.
func (f *forbidden) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var texts []string
	for which, at := range f.at {
		if time.Since(at) < forbiddenFor {
			texts = append(texts, which.Error())
		}
	}
	if len(texts) == 0 {
		return nil
	}
	slices.Sort(texts)
	return errors.New("NATS refuses what this worker needs, and worker doctor lists it all: " + strings.Join(texts, "; "))
}

// worksWithout reports whether a worker does its work without a subject: it goes by itself then, or one receiver is not served, or a class of events
// that a client or door has chosen is refused, who learns of it.
func (f *forbidden) worksWithout(subject string) bool {
	for _, bucket := range []string{f.names.Pace(), f.names.Tokens(), f.names.Rules()} {
		if slices.ContainsFunc(strings.Split(subject, "."), func(token string) bool { return token == bucket || token == "KV_"+bucket }) {
			return true
		}
	}
	if strings.Contains(subject, ".notify-") { // The consumer of a receiver, which the log names.
		return true
	}
	for _, prefix := range []string{"$SRV.", "$SYS.", f.names.Query(""), f.names.Subject("worker.")} {
		if strings.HasPrefix(subject, prefix) {
			return true
		}
	}
	class, isEvent := strings.CutPrefix(subject, f.names.Event(""))
	return strings.HasSuffix(subject, ".API.INFO") || isEvent && class != jobs.ClassOperator && class != jobs.ClassSchedule
}

// grantOf is a subject as permissions have it: without the key of a bucket, which may be the id of a job, and without what differs with each message.
func grantOf(subject string) string {
	tokens := strings.Split(subject, ".")
	most := len(tokens)
	switch at := slices.Index(tokens, "$KV"); {
	case at > 0 && strings.HasPrefix(tokens[at-1], "KV_"):
		most = at
	case at >= 0:
		most = at + 2
	case strings.HasPrefix(subject, "$JS.ACK."):
		most = 3
	}
	if most >= len(tokens) {
		return subject
	}
	return strings.Join(tokens[:most], ".") + ".>"
}
