package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"rekey/internal/wire"
)

// inspector is a store to which a rotation delivers, and which can be looked at without being changed.
type inspector interface {
	Name() string
	Inspect(ctx context.Context) (string, error)
}

// rotations looks at the stores of rotations, all at once. Nothing is written to them.
func (p *checkup) rotations(ctx context.Context) []Finding {
	specs, err := wire.Rotations(p.cfg, p.LookupEnv)
	if err != nil {
		return []Finding{{What: "rotations", Status: Failed, Found: plain(err), Do: "correct the stores under deliver: the worker does not start with these"}}
	}
	var list []Finding
	var stores []inspector
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		for _, store := range specs[name].Stores {
			f := Finding{What: fmt.Sprintf("rotation %s to %s", name, store.Name()), Status: Skipped, Found: "it cannot be looked at"}
			one, _ := store.(inspector) //nolint:errcheck // Nil: it stays skipped.
			list, stores = append(list, f), append(stores, one)
		}
	}
	var running sync.WaitGroup
	for i, store := range stores {
		if store != nil {
			running.Go(func() { look(ctx, store, &list[i]) })
		}
	}
	running.Wait()
	return list
}

// look says what is known of a store, and what to do where a delivery would fail.
func look(ctx context.Context, store inspector, f *Finding) {
	ctx, cancel := context.WithTimeoutCause(ctx, apiTimeout, fmt.Errorf("no answer within %s", apiTimeout))
	defer cancel()
	says, err := store.Inspect(ctx)
	if err == nil {
		f.Status, f.Found = OK, says
		return
	}
	f.Status, f.Found = Failed, plain(err)
	f.Do = "make the store reachable, and give the worker the rights that docs/rotation.md lists; until then rotations wait with the new secret, and nothing is deleted"
}
