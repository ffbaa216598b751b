package door

import "sync"

// parallel calls do for 0 to n-1, so many at once, and returns the first error.
func parallel(n, atOnce int, do func(int) error) error {
	var (
		running sync.WaitGroup
		mu      sync.Mutex // Guards what follows.
		next    int
		first   error
	)
	for range min(n, atOnce) {
		running.Go(func() {
			for {
				mu.Lock()
				i, failed := next, first != nil
				next++
				mu.Unlock()
				if i >= n || failed {
					return
				}
				if err := do(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	running.Wait()
	return first
}
