package search

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"rekey/internal/bus"
	"rekey/internal/direct"
	"rekey/internal/jobs"
)

// text is what a row is found by.
type text struct {
	facets, target, body string
}

// row is a job as the tables have it.
type row struct {
	place    int64
	id       string
	revision uint64
	finished int64 // Microseconds since 1970; 0: it has not.
	group    group
	target   string
	ends
	record []byte
	text   text
}

// group is what jobs are counted by.
type group struct {
	hour                                int64 // Hours since 1970.
	kind, lane, state, outcome, verdict string
}

// ends is what a job has come to, for what is said of today. Moments are microseconds since 1970; 0: it has not.
type ends struct {
	dead   int64  // When it had succeeded, unless the verdict is still_alive.
	proven int64  // When a look has shown that.
	failed int64  // When it was given up; 0 also where its dead letter was dropped.
	alive  string // Why its credential counts as alive: open or works; "": it does not.
}

// The reasons.
const (
	aliveOpen  = "open"  // The job has no outcome.
	aliveWorks = "works" // It succeeded, and the verdict is still_alive or reverted.
	aliveSeen  = "seen"  // It succeeded, the verdict is pending, and a read shows that it works.
)

func endsOf(r *jobs.PublicRecord) (e ends) {
	switch {
	case r.DryRun, r.Rotates() && !r.Done(): // A rotation takes nothing away that is known to be in wrong hands.
		return e
	case !r.Done():
		e.alive = aliveOpen
	case r.Outcome.DeadLetter():
		if r.DroppedAt.IsZero() { // Else an operator has dealt with it.
			e.failed = micros(r.FinishedAt)
		}
	case r.Outcome.Success():
		switch {
		case r.Alive():
			e.alive = aliveWorks
		case r.Proof != nil && r.Proof.Works:
			e.alive = aliveSeen
		}
		if r.Verdict() != jobs.VerdictStillAlive {
			e.dead = micros(r.FinishedAt)
		}
		if r.Proof != nil && !r.Proof.VerifiedAt.IsZero() {
			e.proven = micros(r.Proof.VerifiedAt)
		}
	}
	return e
}

// newRow reads a record of the ledger. What the ledger alone needs of it is left out.
func newRow(m direct.Message) (row, error) {
	var r jobs.PublicRecord
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return row{}, fmt.Errorf("decoding revision %d of the ledger: %w", m.Seq, err)
	}
	record, err := json.Marshal(r)
	if err != nil {
		return row{}, err
	}
	made := row{
		place: place(r.AcceptedAt, r.JobID), id: r.JobID, revision: m.Seq, target: r.Target, record: record, ends: endsOf(&r),
		text: text{facets: strings.Join(facetsOf(&r), " "), target: r.Target, body: bodyOf(&r)},
		group: group{
			hour: micros(r.AcceptedAt) / time.Hour.Microseconds(), kind: string(r.Kind), lane: string(r.Lane), state: string(r.State),
			outcome: string(r.Outcome), verdict: string(r.Verdict()),
		},
	}
	if !r.FinishedAt.IsZero() {
		made.finished = micros(r.FinishedAt)
	}
	return made, nil
}

// places is how many jobs may be accepted in one microsecond.
const places = 1024

// place is the position of a job among the others: the later it was accepted the higher, and of those of one moment as their ids say
// by their first letters. Where two have the same place, the second one goes to the next that is free.
func place(accepted time.Time, id string) int64 {
	rank := func(i int) int64 {
		if i >= len(id) {
			return 0
		}
		return int64(strings.IndexByte("0123456789abcdefghijklmnopqrstuvwxyz", id[i]))
	}
	return micros(accepted)*places + places - 1 - max(rank(0)*28+rank(1)*28/36, 0)
}

// accepted is when the job at a place was accepted.
func accepted(place int64) time.Time { return time.UnixMicro(place / places).UTC() }

// micros is a moment in microseconds since 1970, within what a place can hold.
func micros(t time.Time) int64 {
	const most = 1 << 52 // In the year 2112.
	if t.Year() < 1970 {
		return 0
	}
	if t.Year() > 2100 {
		return most
	}
	return t.UnixMicro()
}

// facets are words for the values of fields, given in pairs, whatever the values hold. Two fields have different ones, and no value
// has none.
func facets(pairs ...string) (list []string) {
	h, text := fnv.New64a(), []byte(nil)
	for pair := range slices.Chunk(pairs, 2) {
		if field, value := pair[0], pair[1]; value != "" {
			text = append(append(append(text[:0], field...), '='), value...)
			h.Reset()
			_, _ = h.Write(text) // A hash takes everything.
			list = append(list, "f"+strconv.FormatUint(h.Sum64(), 36))
		}
	}
	return list
}

// facetsOf are the facets of all fields of a record that a Query can name. Events are found by the id that a producer gave them.
func facetsOf(r *jobs.PublicRecord) []string {
	list := facets("state", string(r.State), "kind", string(r.Kind), "outcome", string(r.Outcome), "verdict", string(r.Verdict()),
		"lane", string(r.Lane), "origin", string(r.Origin), "account", r.Account, "policy", r.Policy,
		"requested_by", r.RequestedBy, "requested_by", r.OnBehalfOf, "watched", yes(r.Watched()))
	for _, e := range r.Events {
		list = append(list, facets("event", strings.TrimPrefix(e.ID, "id:"), "requested_by", e.RequestedBy, "requested_by", e.OnBehalfOf)...)
	}
	return list
}

// bodyOf is what free text finds of a record.
func bodyOf(r *jobs.PublicRecord) string {
	list := []string{r.JobID, r.Reason, r.RequestedBy, r.OnBehalfOf, r.Detail, r.Account, r.Policy, r.Contained, r.Trace}
	for _, value := range r.Params {
		list = append(list, value)
	}
	for _, e := range r.Events {
		list = append(list, e.ID, e.Source, e.Reason, e.RequestedBy, e.OnBehalfOf)
	}
	for _, a := range r.Attempts {
		list = append(list, a.RequestID, a.ErrorCode, a.Error)
	}
	for _, op := range r.Operations {
		list = append(list, op.By, op.Reason)
	}
	if r.Proof != nil {
		for _, e := range r.Proof.Evidence {
			list = append(list, e.Check, e.Says, e.EventID)
		}
	}
	return join(list)
}

// join puts texts one under the other, each once.
func join(list []string) string {
	slices.Sort(list)
	return strings.TrimSpace(strings.Join(slices.Compact(list), "\n"))
}

// letterText is what a dead letter is found by.
func letterText(d *bus.DeadLetter) text {
	return text{
		facets: strings.Join(facets("code", d.Code, "kind", d.Kind, "job", d.JobID, "receiver", d.Receiver), " "),
		body:   join([]string{d.Reason, d.JobID, d.Receiver, d.Event.ID, d.Event.Source, d.Event.Subject}),
	}
}
