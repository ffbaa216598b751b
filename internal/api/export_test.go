package api

import "time"

// The tests do not wait for a slow body as long as a worker does.
func init() { readTimeout = 2 * time.Second }
