package search

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"
)

// listOf is what chooses the jobs of a query, without After. With probe, the order leads, and each job is looked up in the words.
func (q *Query) listOf(loose, probe bool) *list {
	l, words := &list{table: "jobs", column: "place", up: strings.HasPrefix(string(q.Sort), "-")}, *q
	l.whole = loose && hasWord(q.Q) // Beginnings of words are collected before the first job is found.
	switch strings.TrimPrefix(string(q.Sort), "-") {
	case string(SortFinished):
		l.column, words.Outcome = "finished", "" // An index has those of an outcome in this order.
	case string(SortChanged):
		l.column = "revision"
	}
	place, target := "j.place", "j.target"
	if terms := words.terms(loose); l.column == "place" {
		target = l.inPlace(terms, q.Target != "")
		place = l.order
	} else {
		l.sorted(terms, probe)
	}
	if l.column == "finished" {
		l.add("j.finished > 0")
		if q.Outcome != "" {
			l.add("j.outcome = ?", q.Outcome)
		}
	}
	if q.Target != "" {
		l.add("instr("+target+", ?) > 0", q.Target)
	}
	l.accepted(place, q.Since, q.Until)
	return l
}

// inPlace reads records as they are found, and returns what the target is called, where that is asked for: then those alone that have it, as
// records are large.
func (l *list) inPlace(terms []string, byTarget bool) (target string) {
	switch {
	case len(terms) > 0:
		l.from, l.order, target = "words w JOIN records r ON r.place = w.rowid", "w.rowid", "j.target"
		if byTarget {
			l.from += " JOIN jobs j ON j.place = w.rowid"
		}
		l.find("words", terms)
	case byTarget:
		l.from, l.order, target = "jobs t CROSS JOIN records r ON r.place = t.place", "t.place", "t.target"
	default:
		l.from, l.order = "records r", "r.place"
	}
	return target
}

// sorted finds jobs whose records are read when they are sorted.
func (l *list) sorted(terms []string, probe bool) {
	l.from, l.order = "jobs j", "j."+l.column
	switch {
	case len(terms) == 0:
	case probe: // Each by itself: see between.
		for _, term := range terms {
			l.add("EXISTS (SELECT 1 FROM words w WHERE w.words MATCH ? AND w.rowid = j.place)", term)
		}
	default:
		l.from = "words w JOIN jobs j ON j.place = w.rowid"
		l.find("words", terms)
	}
}

// accepted chooses by when jobs were accepted.
func (l *list) accepted(place string, since, until time.Time) {
	if !since.IsZero() {
		l.add(place+" >= ?", micros(since)*places)
	}
	if !until.IsZero() {
		l.add(place+" < ?", micros(until)*places)
	}
}

// choose is a list with words as they are, and where nothing has them, loosely. stop is not swept where nothing was found up to there.
func (p *projection) choose(ctx context.Context, listOf func(loose, probe bool) *list, words string) (l *list, stop int64, err error) {
	loose := false
	if stop = swept; hasWord(words) {
		var n int
		if l, err = p.spelledOut(ctx, listOf(false, false)); err != nil {
			return nil, stop, err
		}
		if n, stop, err = p.count(ctx, l.byPlace(), 1); err != nil {
			return nil, stop, err
		}
		loose = n == 0 && stop == swept
	}
	if l, err = p.spelledOut(ctx, listOf(loose, false)); err != nil {
		return nil, stop, err
	}
	if strings.HasPrefix(l.order, "j.") && strings.HasPrefix(l.from, "words") {
		// Few are sorted. Where there are many, some are soon found in their order.
		if n, end, err := p.count(ctx, l.byPlace(), mostSorted); err != nil || n == mostSorted || end != swept {
			return listOf(loose, true), stop, err
		}
		l.whole = true
	}
	return l, stop, nil
}

// mostBegin is of how many words a beginning is spelled out.
const mostBegin = 32

// spelledOut is a list of jobs that asks for the words that there are in place of a beginning, where these are few: FTS5 collects all jobs
// that have a word that begins so before the first is found.
func (p *projection) spelledOut(ctx context.Context, l *list) (*list, error) {
	if l.words != "words" {
		return l, nil
	}
	left := false
	for i, term := range l.terms {
		field, begin, ok := strings.Cut(strings.TrimSuffix(term, beginMark), `:"`)
		if !ok || !strings.HasSuffix(term, beginMark) {
			continue
		}
		words, err := p.wordsThatBegin(ctx, strings.ToLower(begin))
		if err != nil {
			return nil, err
		}
		if len(words) == 0 {
			left = true
			continue
		}
		l.terms[i] = field + `:("` + strings.Join(words, `" OR "`) + `")`
	}
	if l.whole = l.whole && left; len(l.terms) > 0 {
		l.args[0] = strings.Join(l.terms, " AND ")
	}
	return l, nil
}

// wordsThatBegin are the words of all jobs that begin with ASCII letters and digits; none where they are too many, or where FTS5 would
// write the beginning in another way.
func (p *projection) wordsThatBegin(ctx context.Context, begin string) (words []string, err error) {
	if strings.Trim(begin, "0123456789abcdefghijklmnopqrstuvwxyz") != "" {
		return nil, nil
	}
	for from := begin; len(words) < mostBegin; {
		var word string
		err := p.file.conn.QueryRowContext(ctx, "SELECT term FROM vocabulary WHERE term >= ? LIMIT 1", from).Scan(&word)
		if errors.Is(err, sql.ErrNoRows) || err == nil && !strings.HasPrefix(word, begin) {
			return words, nil
		}
		if err != nil {
			return nil, inFile(err)
		}
		words, from = append(words, word), word+"\x01" // Before all other words that go on so.
	}
	return nil, nil
}

// mostSorted is how many jobs are sorted for an answer.
const mostSorted = 4000
