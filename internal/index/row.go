package index

import (
	"bytes"
	"cmp"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"strings"
	"time"

	"rekey/internal/jobs"
)

// Row is what the index holds of a record: enough to tell whether a filter may choose it,
// and its place among the others. It is written as gob: a field that is added later
// is zero in what was written before.
type Row struct {
	ID       string
	Revision uint64
	Accepted int64 // Nanoseconds since 1970.
	Kind     jobs.Kind
	State    jobs.State
	Outcome  jobs.Outcome
	Target   string
	Events   []uint64 // Hashes of the events' ids.
}

// NewRow reads of a record only what a row needs.
func NewRow(revision uint64, data []byte) (Row, error) {
	var r struct {
		JobID      string       `json:"job_id"`
		Kind       jobs.Kind    `json:"kind"`
		Target     string       `json:"target"`
		State      jobs.State   `json:"state"`
		Outcome    jobs.Outcome `json:"outcome"`
		AcceptedAt time.Time    `json:"accepted_at"`
		Events     []struct {
			ID string `json:"id"`
		} `json:"events"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return Row{}, fmt.Errorf("decoding revision %d of the ledger: %w", revision, err)
	}
	events := make([]uint64, len(r.Events))
	for i, e := range r.Events {
		events[i] = hash(e.ID)
	}
	return Row{
		ID: r.JobID, Revision: revision, Accepted: Nanos(r.AcceptedAt), Kind: r.Kind, State: r.State, Outcome: r.Outcome,
		Target: r.Target, Events: events,
	}, nil
}

// Nanos is a moment as a number that sorts like it. Moments that the number cannot hold are
// its smallest and its largest.
func Nanos(t time.Time) int64 {
	switch y := t.Year(); {
	case y < 1678:
		return math.MinInt64
	case y > 2261:
		return math.MaxInt64
	}
	return t.UnixNano()
}

func hash(text string) uint64 {
	h := fnv.New64a()
	// A hash takes everything.
	_, _ = h.Write([]byte(text))
	return h.Sum64()
}

// Place is the position of a record in a list: the latest accepted comes first.
type Place struct {
	Accepted int64
	ID       string
}

// Place is the position of the row's record in a list.
func (r *Row) Place() Place { return Place{r.Accepted, r.ID} }

// Compare orders places: negative when p comes first.
func (p Place) Compare(other Place) int {
	return cmp.Or(cmp.Compare(other.Accepted, p.Accepted), strings.Compare(p.ID, other.ID))
}

// EncodeRows is how rows are stored.
func EncodeRows(rows []Row) ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(rows); err != nil {
		return nil, fmt.Errorf("encoding a part of the index: %w", err)
	}
	return b.Bytes(), nil
}

func decodeRows(data []byte) ([]Row, error) {
	var rows []Row
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&rows); err != nil {
		return nil, fmt.Errorf("decoding a part of the index: %w", err)
	}
	return rows, nil
}
