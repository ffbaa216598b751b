package natsserver

import "sync"

// lastLine keeps the latest line that was set.
type lastLine struct {
	mu   sync.Mutex // Guards line.
	line string
}

func (l *lastLine) set(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = line
}

func (l *lastLine) get() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.line
}
