package app

import (
	"context"
	"sync"

	"rekey/internal/bus"
)

// identity is which worker a process is, among all that have or had its name.
type identity struct {
	worker, instance string

	mu       sync.Mutex    // Guards what follows.
	presence *bus.Presence // Nil unless it is certain that the name is this worker's alone.
	gone     map[string]bool
}

// ownsName notes that the name is this worker's alone.
func (i *identity) ownsName(p bus.Presence) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.presence, i.gone = &p, map[string]bool{}
}

// isGone reports whether it is certain that another process, which had this worker's name, lives no more.
func (i *identity) isGone(ctx context.Context, worker, instance string) bool {
	if i == nil || worker != i.worker || instance == "" || instance == i.instance {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.presence == nil {
		return false
	}
	if _, asked := i.gone[instance]; !asked {
		lives, err := i.presence.Lives(ctx, instance)
		if err != nil {
			return false
		}
		i.gone[instance] = !lives
	}
	return i.gone[instance]
}
