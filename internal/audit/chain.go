package audit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// Header carries the Link of a result, as JSON.
const Header = "Rekey-Chain"

// Link is the place of a result in the chain of the worker that announced it.
type Link struct {
	// Chain names the chain: worker and start of its process.
	Chain string `json:"chain"`
	// N counts the chain's links from 1. A number may be missing: its result was refused, or
	// it is not known whether it was stored.
	N uint64 `json:"n"`
	// Hash is the SHA-256 of the other fields, the subject and the payload, in hex.
	Hash string `json:"hash"`
	// Prev is the latest link before this one that the stream has acknowledged; its N is 0
	// before the first.
	Prev Head `json:"prev,omitzero"`
}

// Head names a link whose result is stored.
type Head struct {
	N    uint64    `json:"n"`
	Hash string    `json:"hash"`
	ID   string    `json:"id"` // The message id of the result.
	At   time.Time `json:"at"` // When it was tied, by the time that all workers share.
}

// Chain ties results, one after the other. It may be used by several goroutines at once.
type Chain struct {
	name string
	now  func() time.Time
	turn chan struct{} // Holds a token while no result is tied.

	mu   sync.Mutex // Guards the two below.
	last uint64
	head Head
}

// NewChain begins the chain of a worker's process. now is the time that all workers share, see internal/clock.
func NewChain(worker string, now func() time.Time) *Chain {
	c := &Chain{name: fmt.Sprintf("%s/%d", worker, now().UnixNano()), now: now, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

// Name is the name of the chain.
func (c *Chain) Name() string { return c.name }

// Head returns the latest link whose result is stored; its N is 0 before the first.
func (c *Chain) Head() Head {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head
}

// Tie makes the next link for a result with this message id, subject and payload, and hands it
// to store, which says whether the stream has taken the result as new. One result is stored
// after the other: each names the one before it.
func (c *Chain) Tie(ctx context.Context, id, subject string, payload []byte, store func(Link) (bool, error)) error {
	select {
	case <-c.turn:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { c.turn <- struct{}{} }()
	link := c.next(subject, payload)
	at := c.now().UTC().Truncate(time.Millisecond)
	stored, err := store(link)
	if stored && err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.head = Head{N: link.N, Hash: link.Hash, ID: id, At: at}
	}
	return err
}

func (c *Chain) next(subject string, payload []byte) Link {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	link := Link{Chain: c.name, N: c.last, Prev: c.head}
	link.Hash = link.sum(subject, payload)
	return link
}

// sum hashes the link with what it ties. Every part is preceded by its length, so that none
// can pass for a part of its neighbour.
func (l Link) sum(subject string, payload []byte) string {
	h := sha256.New()
	number := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	for _, part := range [][]byte{
		[]byte(l.Chain), number(l.N), number(l.Prev.N), []byte(l.Prev.Hash), []byte(l.Prev.ID),
		number(uint64(l.Prev.At.UnixMilli())), []byte(subject), payload,
	} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Encode is the value of Header.
func (l Link) Encode() (string, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return "", fmt.Errorf("encoding a link: %w", err)
	}
	return string(text), nil
}

// DecodeLink reads the value of Header.
func DecodeLink(text string) (Link, error) {
	var l Link
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return Link{}, fmt.Errorf("decoding a link: %w", err)
	}
	return l, nil
}
