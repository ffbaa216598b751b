// Package quiet keeps a failure that repeats itself from filling the log.
package quiet

import (
	"regexp"
	"sync"
	"time"

	"go.uber.org/zap"
)

// again is how often a failure that goes on is logged.
const again = time.Minute

// maxKept bounds what is remembered. What would be more is logged each time.
const maxKept = 1000

// Failures remembers which failures were logged. The zero value is ready; nil logs all. It may be used by several
// goroutines at once.
type Failures struct {
	mu   sync.Mutex // Guards last.
	last map[id]failure
}

// id is what fails, and how.
type id struct{ key, text string }

type failure struct {
	at   time.Time // When it was logged last.
	left int       // How often it was left out since.
}

// names differ between two failures of the same kind: ids, sequences, ports, durations. They have digits in them.
var names = regexp.MustCompile(`[A-Za-z_-]*[0-9][A-Za-z0-9_-]*`)

// News reports whether a failure is to be logged: when it begins, when it reads differently but for names with digits in them, and then
// once a minute. key is what fails. The field says how often it was left out since the last line.
func (f *Failures) News(key string, err error) (repeated zap.Field, news bool) {
	if f == nil {
		return zap.Skip(), true
	}
	which, now := id{key, names.ReplaceAllString(err.Error(), "#")}, time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	known, ok := f.last[which]
	if ok && now.Sub(known.at) < again {
		known.left++
		f.last[which] = known
		return zap.Skip(), false
	}
	if f.last == nil {
		f.last = map[id]failure{}
	}
	if ok || len(f.last) < maxKept {
		f.last[which] = failure{at: now}
	}
	if known.left == 0 {
		return zap.Skip(), true
	}
	return zap.Int("repeated", known.left), true
}

// Warn logs a failure as a warning if it is news. What fails is the message.
func (f *Failures) Warn(log *zap.Logger, message string, err error, fields ...zap.Field) {
	if repeated, news := f.News(message, err); news {
		log.Warn(message, append(fields, zap.Error(err), repeated)...)
	}
}

// Over forgets the failures of what works again, and reports whether there were some.
func (f *Failures) Over(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := false
	for which := range f.last {
		if which.key == key {
			was = true
			delete(f.last, which)
		}
	}
	return was
}
