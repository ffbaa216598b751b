package api

import "time"

// SetReadTimeout lets tests wait less for a slow body than a worker does.
func SetReadTimeout(d time.Duration) { readTimeout = d }
