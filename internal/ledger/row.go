package ledger

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

// row is what the index holds of a record: enough to tell whether a filter may choose it,
// and where it stands among the others. It is written as gob: a field that is added later
// is zero in what was written before.
type row struct {
	ID       string
	Revision uint64
	Accepted int64 // Nanoseconds since 1970.
	Kind     jobs.Kind
	State    jobs.State
	Outcome  jobs.Outcome
	Target   string
	Events   []uint64 // Hashes of the events' ids.
}

// newRow reads of a record only what a row needs.
func newRow(revision uint64, data []byte) (row, error) {
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
		return row{}, fmt.Errorf("decoding revision %d of the ledger: %w", revision, err)
	}
	events := make([]uint64, len(r.Events))
	for i, e := range r.Events {
		events[i] = hash(e.ID)
	}
	return row{
		ID: r.JobID, Revision: revision, Accepted: nanos(r.AcceptedAt), Kind: r.Kind, State: r.State, Outcome: r.Outcome,
		Target: r.Target, Events: events,
	}, nil
}

// nanos is a moment as a number that sorts like it. Moments that the number cannot hold are
// its smallest and its largest.
func nanos(t time.Time) int64 {
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

// place is where a record stands in a list: the latest accepted comes first.
type place struct {
	accepted int64
	id       string
}

func (r *row) place() place { return place{r.Accepted, r.ID} }

func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(other.accepted, p.accepted), strings.Compare(p.id, other.id))
}

func encodeRows(rows []row) ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(rows); err != nil {
		return nil, fmt.Errorf("encoding a part of the index: %w", err)
	}
	return b.Bytes(), nil
}

func decodeRows(data []byte) ([]row, error) {
	var rows []row
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&rows); err != nil {
		return nil, fmt.Errorf("decoding a part of the index: %w", err)
	}
	return rows, nil
}
