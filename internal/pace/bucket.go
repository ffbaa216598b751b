package pace

import "strings"

// maxKey bounds the keys of buckets that are accepted from other workers, in bytes.
const maxKey = 256

// Bucket is one rate bucket of the API.
type Bucket struct {
	Set    string // The endpoint set.
	Entity string // The account, organization, project or address that it belongs to.
}

// Key is the name of the bucket among all workers: letters, digits and -_./=.
func (b Bucket) Key() string {
	entity := strings.Map(func(r rune) rune {
		if isKeyRune(r) {
			return r
		}
		return '_' // Two that become one share their calls, which is safe.
	}, b.Entity)
	return b.Set + "/" + entity
}

// parseKey returns the bucket of a key, and false when it names none.
func parseKey(key string) (Bucket, bool) {
	set, entity, ok := strings.Cut(key, "/")
	bad := func(r rune) bool { return !isKeyRune(r) && r != '/' }
	return Bucket{Set: set, Entity: entity}, ok && len(key) <= maxKey && !strings.ContainsFunc(key, bad)
}

func isKeyRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.=", r)
}
