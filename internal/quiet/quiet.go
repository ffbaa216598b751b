// Package quiet keeps a failure that repeats itself from filling the log.
package quiet

import (
	"regexp"
	"sync"
	"time"

	"go.uber.org/zap"
)

// repeatEvery is how often a continuing failure is logged.
const repeatEvery = time.Minute

// maxKept bounds the failures that are remembered. Others are logged each time.
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
	at      time.Time // When it was logged last.
	omitted int       // How often it was not logged since.
}

// names are words with digits in them, which differ between two failures of the same kind: ids, sequences, ports, durations.
var names = regexp.MustCompile(`[A-Za-z_-]*[0-9][A-Za-z0-9_-]*`)

// News reports whether a failure should be logged: when it begins, when its text changes except for names with digits in them, and then
// once a minute. key is what fails. The field holds how often it was not logged since the last line.
func (f *Failures) News(key string, err error) (repeated zap.Field, news bool) {
	if f == nil {
		return zap.Skip(), true
	}
	which, now := id{key, names.ReplaceAllString(err.Error(), "#")}, time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	known, ok := f.last[which]
	if ok && now.Sub(known.at) < repeatEvery {
		known.omitted++
		f.last[which] = known
		return zap.Skip(), false
	}
	if f.last == nil {
		f.last = map[id]failure{}
	}
	if ok || len(f.last) < maxKept {
		f.last[which] = failure{at: now}
	}
	if known.omitted == 0 {
		return zap.Skip(), true
	}
	return zap.Int("repeated", known.omitted), true
}

// Warn logs a failure as a warning if it is news. The message is the key.
func (f *Failures) Warn(log *zap.Logger, message string, err error, fields ...zap.Field) {
	if repeated, news := f.News(message, err); news {
		log.Warn(message, append(fields, zap.Error(err), repeated)...)
	}
}

// Over forgets the failures of a key that works again, and reports whether there were any.
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
