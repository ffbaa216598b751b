package index

import (
	"encoding/binary"
	"regexp"
)

// bloom is a set of hashes that may say yes to one that it does not hold (to about one in
// a hundred), and never no to one that it holds. An empty one says yes to all.
type bloom []byte

const (
	bloomBits   = 10 // For each hash.
	bloomProbes = 7
)

func newBloom(hashes map[uint64]struct{}) bloom {
	b := make(bloom, (len(hashes)*bloomBits+7)/8)
	for h := range hashes {
		b.probe(h, func(i uint64, mask byte) bool { b[i] |= mask; return true })
	}
	return b
}

// mayHold reports whether h may be in the set.
func (b bloom) mayHold(h uint64) bool {
	return len(b) == 0 || b.probe(h, func(i uint64, mask byte) bool { return b[i]&mask != 0 })
}

// probe visits the bits of a hash while visit says so, and reports whether all were visited.
func (b bloom) probe(h uint64, visit func(i uint64, mask byte) bool) bool {
	var text [8]byte
	binary.LittleEndian.PutUint64(text[:], h)
	step := hash(string(text[:])) | 1 // A second hash for the distances between the probes.
	for range bloomProbes {
		bit := h % (uint64(len(b)) * 8)
		if !visit(bit/8, 1<<(bit%8)) {
			return false
		}
		h += step
	}
	return true
}

// The parts of a target by which it is found: an id of the API, and a token's fingerprint.
var (
	hexRun      = regexp.MustCompile(`[0-9a-f]{24,}`)
	fingerprint = regexp.MustCompile(`sha256:[0-9a-f]{12}`)
)

// idDigits is the length of an id of the API.
const idDigits = 24

// marks are the hashes of the parts of a text by which it can be found. All marks of a part
// of a target are marks of the target: an id is looked for at every place where it may
// begin, so that it is found also when it is only a piece of something longer.
func marks(text string) []uint64 {
	var list []uint64
	for _, run := range hexRun.FindAllString(text, -1) {
		for i := range len(run) - idDigits + 1 {
			list = append(list, hash(run[i:i+idDigits]))
		}
	}
	for _, token := range fingerprint.FindAllString(text, -1) {
		list = append(list, hash(token))
	}
	return list
}
