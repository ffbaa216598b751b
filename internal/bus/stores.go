package bus

import (
	"rekey/internal/kv"
	"rekey/internal/layout"
)

// Store returns a bucket of the namespace by its name.
func Store[T any](c *Conn, bucket string) *kv.Store[T] {
	return kv.New[T](c.js, layout.Bucket(c.names, bucket, c.copies))
}
