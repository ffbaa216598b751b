package jobs

import (
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// One target has one line in the log in this time, however often its attempts fail; what was left out is counted in the
// next one. While an API is down, thousands of jobs fail again and again.
const attemptLogEvery = time.Minute

// attemptLogTargets is how many targets are remembered before those that are due are looked for.
const attemptLogTargets = 1024

// attemptLog tells of attempts that failed.
type attemptLog struct {
	log *zap.Logger

	mu    sync.Mutex // Guards lines.
	lines map[string]attemptLine
}

// attemptLine is when a target had its last line, and how many attempts failed since then.
type attemptLine struct {
	at      time.Time
	unsaid  int
	lastJob string
}

func newAttemptLog(log *zap.Logger) *attemptLog {
	return &attemptLog{log: log, lines: map[string]attemptLine{}}
}

// failed tells of the latest attempt of a job, which failed.
func (l *attemptLog) failed(rec *Record) {
	unsaid, ok := l.due(rec, time.Now())
	if !ok {
		return
	}
	a := rec.lastAttempt()
	line := append(fields(rec), zap.Int("attempt", a.Attempt), zap.String("error", a.Error))
	line = append(line, failureFields(rec)...)
	if !a.RetryAt.IsZero() {
		line = append(line, zap.Time("retry_at", a.RetryAt))
	}
	if a.MaybeEffective {
		line = append(line, zap.Bool("maybe_effective", true))
	}
	if unsaid > 0 {
		line = append(line, zap.Int("failures_not_logged", unsaid))
	}
	l.log.Warn("attempt failed", line...)
}

// due reports whether a target may have a line, and how many failures had none since the last one.
func (l *attemptLog) due(rec *Record, now time.Time) (unsaid int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) >= attemptLogTargets {
		l.forget(now)
	}
	line, known := l.lines[rec.Target]
	if known && now.Sub(line.at) < attemptLogEvery {
		line.unsaid, line.lastJob = line.unsaid+1, rec.JobID
		l.lines[rec.Target] = line
		return 0, false
	}
	l.lines[rec.Target] = attemptLine{at: now}
	return line.unsaid, true
}

// forget drops the targets that may have a line again, and tells how many failures had none.
func (l *attemptLog) forget(now time.Time) {
	for target, line := range l.lines {
		if now.Sub(line.at) < attemptLogEvery {
			continue
		}
		if line.unsaid > 0 {
			l.log.Warn("more attempts failed", zap.String("target", target), zap.String("job_id", line.lastJob), zap.Int("failures_not_logged", line.unsaid))
		}
		delete(l.lines, target)
	}
}

// failureFields are the fields of a job's latest attempt, and none where it worked or there is none.
func failureFields(rec *Record) []zap.Field {
	a := rec.lastAttempt()
	if a == nil || a.Reason == ReasonNone || a.Reason == "" {
		return nil
	}
	list := []zap.Field{zap.String("reason", string(a.Reason))}
	if a.Status != 0 {
		list = append(list, zap.Int("status", a.Status))
	}
	if a.ErrorCode != "" {
		list = append(list, zap.String("error_code", a.ErrorCode))
	}
	return list
}

// fields name a job in the log.
func fields(rec *Record) []zap.Field {
	list := []zap.Field{
		zap.String("job_id", rec.JobID), zap.String("event_id", rec.Events[0].ID), zap.String("kind", string(rec.Kind)),
		zap.String("target", rec.Target), zap.String("account", rec.Account), zap.String("lane", string(rec.Lane)),
	}
	if id := traceID(rec.Trace); id != "" {
		list = append(list, zap.String("trace_id", id))
	}
	return list
}

// traceID is the id of the trace in a traceparent (W3C Trace Context: version-trace-parent-flags), "" when there is none.
func traceID(traceparent string) string {
	parts := strings.Split(traceparent, "-")
	if len(parts) < 4 {
		return ""
	}
	return parts[1]
}
