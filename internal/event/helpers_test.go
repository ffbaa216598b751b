package event

import "time"

// Ids as Atlas writes them.
const hexA = "0123456789abcdef01234567"

// moment is some time in the past.
var moment = time.Date(2026, 3, 1, 3, 4, 5, 678_000_000, time.UTC)

// canary is a secret that must turn up nowhere.
const canary = "s3cr3t-CANARY-0f1e2d3c4b5a"
