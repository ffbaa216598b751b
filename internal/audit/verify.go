package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Result is one message of the stream of results.
type Result struct {
	Seq     uint64 // In the stream.
	At      time.Time
	Subject string
	Payload []byte
	Link    string // The value of Header; empty when there is none.
	Foreign bool   // Its subject is none of Rekey's.
	Proof   bool   // It is a verdict.
	// Refusals says that it is a report of refused requests.
	Refusals bool
}

// Problem is one thing that is wrong with the stream.
type Problem struct {
	// Code is changed, unreadable, doubled, broken, missing, cut, untied or foreign.
	Code  string `json:"code"`
	Chain string `json:"chain,omitempty"`
	N     uint64 `json:"n,omitempty"`   // Of the link in question.
	Seq   uint64 `json:"seq,omitempty"` // Of the message that tells.
	// Detail tells a person.
	Detail string `json:"detail"`
}

// Report is what Verify found.
type Report struct {
	Results  int       `json:"results"`
	Proofs   int       `json:"proofs"`   // Verdicts on the targets of jobs.
	Refusals int       `json:"refusals"` // Reports of refused requests, each of which may tell of many.
	Chains   int       `json:"chains"`
	Untied   int       `json:"untied"`  // Messages without a link: from before there were chains, or a problem each.
	Expired  int       `json:"expired"` // Links whose predecessor is older than the stream keeps.
	Problems []Problem `json:"problems"`
}

// Verifier checks the results one after the other, and then what they are as a whole.
type Verifier struct {
	report Report
	chains map[string]map[uint64]tied
	first  uint64    // The sequence of the first message with a link; 0 before it.
	since  time.Time // When that was stored.
	untied []Result  // Without their payloads.
}

// tied is what is kept of a link while the stream is read.
type tied struct {
	link Link
	seq  uint64
}

// NewVerifier returns a Verifier that has seen nothing.
func NewVerifier() *Verifier {
	return &Verifier{chains: map[string]map[uint64]tied{}, report: Report{Problems: []Problem{}}}
}

// Add checks one result by itself.
func (v *Verifier) Add(r Result) {
	switch {
	case r.Proof:
		v.report.Proofs++
	case r.Refusals:
		v.report.Refusals++
	default:
		v.report.Results++
	}
	if r.Foreign {
		v.problem("foreign", Link{}, r.Seq, "message %d is on the subject %s, which is that of no result, verdict or report of refused requests", r.Seq, r.Subject)
	}
	if r.Link == "" {
		v.report.Untied++
		v.untied = append(v.untied, Result{Seq: r.Seq, At: r.At, Subject: r.Subject})
		return
	}
	if v.first == 0 {
		v.first, v.since = r.Seq, r.At
	}
	link, err := DecodeLink(r.Link)
	if err != nil {
		v.problem("unreadable", Link{}, r.Seq, "the link of message %d cannot be read", r.Seq)
		return
	}
	if link.sum(r.Subject, r.Payload) != link.Hash {
		v.problem("changed", link, r.Seq, "message %d is not what its worker announced", r.Seq)
	}
	chain := v.chains[link.Chain]
	if chain == nil {
		chain = map[uint64]tied{}
		v.chains[link.Chain] = chain
	}
	if other, twice := chain[link.N]; twice {
		v.problem("doubled", link, r.Seq, "messages %d and %d share a chain position", r.Seq, other.seq)
		return
	}
	chain[link.N] = tied{link, r.Seq}
}

// Ends is what is kept apart of the ends of chains.
type Ends struct {
	Heads map[string]Head // The latest link of each chain. Nil: nothing is kept, which no worker leaves behind.
	Since time.Time       // When the place was made in which they are kept. Zero: not known.
}

// Finish checks the chains, against what is kept apart of their ends. keep is how long the stream keeps a result; 0: without
// a limit.
func (v *Verifier) Finish(ends Ends, now time.Time, keep time.Duration) Report {
	heads := ends.Heads
	for _, name := range slices.Sorted(maps.Keys(v.chains)) {
		v.report.Chains++
		v.check(v.chains[name], now, keep)
	}
	v.checkUntied(heads)
	switch {
	case heads == nil && v.report.Chains > 0:
		v.problem("cut", Link{}, 0, "what workers note of the ends of their chains is not there: results may have been taken out at the ends")
	case v.first > 0 && v.since.Before(ends.Since):
		v.problem("cut", Link{}, v.first, "what workers note of the ends of their chains was made anew at %s, after results from %s on: before, some may have "+
			"been taken out at the ends", ends.Since.Format(time.RFC3339), v.since.Format(time.RFC3339))
	}
	for _, name := range slices.Sorted(maps.Keys(heads)) {
		v.checkEnd(name, heads[name], now, keep)
	}
	slices.SortStableFunc(v.report.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Chain, b.Chain), cmp.Compare(a.N, b.N))
	})
	return v.report
}

// checkUntied finds messages that no worker has announced: since the first chain began, each result has its link.
func (v *Verifier) checkUntied(heads map[string]Head) {
	var began time.Time
	for _, name := range slices.AppendSeq(slices.Collect(maps.Keys(v.chains)), maps.Keys(heads)) {
		if at := startOf(name); began.IsZero() || at.Before(began) {
			began = at
		}
	}
	for _, r := range v.untied {
		if v.first > 0 && r.Seq > v.first || !began.IsZero() && r.At.After(began) {
			v.problem("untied", Link{}, r.Seq, "message %d, on %s, has no link: no worker has announced it", r.Seq, r.Subject)
		}
	}
}

// startOf is when the process of a chain began, which its name says.
func startOf(chain string) time.Time {
	nanos, err := strconv.ParseInt(chain[strings.LastIndex(chain, "/")+1:], 10, 64)
	if err != nil {
		return time.Now() // It is no chain of a worker; then the order of the messages decides alone.
	}
	return time.Unix(0, nanos)
}

// check looks for the link that each link of a chain names as the one before it.
func (v *Verifier) check(chain map[uint64]tied, now time.Time, keep time.Duration) {
	for _, n := range slices.Sorted(maps.Keys(chain)) {
		at := chain[n]
		prev := at.link.Prev
		before, known := chain[prev.N]
		switch {
		case prev.N == 0:
		case known && before.link.Hash != prev.Hash:
			v.problem("broken", at.link, at.seq, "message %d does not follow message %d", at.seq, before.seq)
		case known:
		case expired(prev.At, now, keep):
			v.report.Expired++
		default:
			v.problem("missing", at.link, at.seq, "the result before message %d is missing: %s, of %s", at.seq, prev.ID, prev.At.Format(time.RFC3339))
		}
	}
}

// checkEnd finds a chain that was cut off at its end. The head is kept with a delay, so that
// a chain may be longer than its head says.
func (v *Verifier) checkEnd(name string, head Head, now time.Time, keep time.Duration) {
	at, known := v.chains[name][head.N]
	link := Link{Chain: name, N: head.N}
	switch {
	case head.N == 0:
	case known && at.link.Hash != head.Hash:
		v.problem("broken", link, at.seq, "message %d is not the one that its worker has noted", at.seq)
	case !known && !expired(head.At, now, keep):
		v.problem("cut", link, 0, "%s, of %s, is not there, and the worker has noted it", head.ID, head.At.Format(time.RFC3339))
	}
}

// expired reports whether a result that was tied then may have been dropped by its age.
func expired(at, now time.Time, keep time.Duration) bool {
	return keep > 0 && now.Sub(at) >= keep
}

func (v *Verifier) problem(code string, l Link, seq uint64, format string, args ...any) {
	v.report.Problems = append(v.report.Problems, Problem{Code: code, Chain: l.Chain, N: l.N, Seq: seq, Detail: fmt.Sprintf(format, args...)})
}
