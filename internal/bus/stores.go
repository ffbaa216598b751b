package bus

import "rekey/internal/kv"

// Store returns a bucket of the namespace by its name.
func Store[T any](c *Conn, bucket string) *kv.Store[T] {
	return kv.New[T](c.js, Bucket(c.names, bucket, c.copies))
}
