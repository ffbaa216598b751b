package wire

import (
	"context"
	"sync"

	"rekey/internal/bus"
)

// Identity is which worker a process is, among all that have or had its name.
type Identity struct {
	Worker, Instance string

	mu       sync.Mutex    // Guards what follows.
	presence *bus.Presence // Nil unless it is certain that the name is this worker's alone.
	gone     map[string]bool
}

// OwnsName notes that the name is this worker's alone.
func (i *Identity) OwnsName(p bus.Presence) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.presence, i.gone = &p, map[string]bool{}
}

// IsGone reports whether it is certain that another process, which had this worker's name, lives no more.
func (i *Identity) IsGone(ctx context.Context, worker, instance string) bool {
	if i == nil || worker != i.Worker || instance == "" || instance == i.Instance {
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
