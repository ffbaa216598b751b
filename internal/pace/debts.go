package pace

// run is tokens that return one after the other: N of them, the first at At, each further
// one Step later. Moments are in microseconds of Unix time.
type run struct {
	At   int64 `json:"at"`
	N    int   `json:"n"`
	Step int64 `json:"step,omitempty"`
}

func (r run) end() int64 { return r.At + int64(r.N-1)*r.Step }

// debts are the tokens that are out, in the order in which they return. Calls at the pace of
// the bucket make long runs, so that a busy bucket is a handful of numbers.
type debts []run

// out is how many tokens are out.
func (d debts) out() int {
	n := 0
	for _, r := range d {
		n += r.N
	}
	return n
}

// back is when the k-th token that is out returns, k from 0 and below out.
func (d debts) back(k int) int64 {
	for _, r := range d {
		if k < r.N {
			return r.At + int64(k)*r.Step
		}
		k -= r.N
	}
	return 0
}

// settle forgets the tokens that are back at the moment.
func (d debts) settle(now int64) debts {
	for len(d) > 0 && d[0].end() <= now {
		d = d[1:]
	}
	if len(d) == 0 {
		return nil
	}
	// The end is later, so a run that has begun has a step.
	if first := &d[0]; first.At <= now {
		gone := (now-first.At)/first.Step + 1
		first.At += gone * first.Step
		first.N -= int(gone)
	}
	return d
}

// push adds a token that returns at a moment, not before any other.
func (d debts) push(at int64) debts {
	if len(d) == 0 {
		return debts{{At: at, N: 1}}
	}
	last := &d[len(d)-1]
	at = max(at, last.end())
	switch {
	case last.N == 1:
		last.N, last.Step = 2, at-last.At
	case at-last.end() == last.Step:
		last.N++
	default:
		return append(d, run{At: at, N: 1})
	}
	return d
}
