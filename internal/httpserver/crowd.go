package httpserver

import "sync"

// Crowd counts by name what each, and all together, may have at once: connections by address, say, or streams by client. Its methods
// may be called from several goroutines at once.
type Crowd struct {
	most, mostOfOne int

	mu  sync.Mutex // Guards what follows.
	all int
	of  map[string]int
}

// NewCrowd returns a crowd in which all together have at most so many, and one at most mostOfOne.
func NewCrowd(most, mostOfOne int) *Crowd {
	return &Crowd{most: most, mostOfOne: mostOfOne, of: map[string]int{}}
}

// Enter counts one more of a name, and reports whether that is within the limits. What has entered must leave.
func (c *Crowd) Enter(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= c.most || c.of[name] >= c.mostOfOne {
		return false
	}
	c.all++
	c.of[name]++
	return true
}

// Leave counts one less of a name.
func (c *Crowd) Leave(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.of[name]--; c.of[name] == 0 {
		delete(c.of, name)
	}
}
