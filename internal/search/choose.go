package search

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
)

// ordered is a list whose rows are found by words, but not sorted by place: the few that there are get sorted, and where there are many, each is
// looked up in the words.
func (p *projection) ordered(ctx context.Context, l list) (*list, error) {
	if l.column == "place" || len(l.terms) == 0 {
		return &l, nil
	}
	few, last, err := p.find(ctx, l.byPlace(), mostSorted)
	if err != nil {
		return nil, err
	}
	if last == nil && len(few) < mostSorted {
		l.whole, l.among = true, placesOf(few)
		l.terms = nil
	} else {
		l.lookUp()
	}
	return &l, nil
}

// lookUp looks each row up in the words.
func (l *list) lookUp() {
	for _, term := range l.terms {
		l.add("EXISTS (SELECT 1 FROM "+l.words+" w WHERE w."+l.words+" MATCH ? AND w.rowid = j.place)", term)
	}
	l.terms = nil
}

// placesOf are places as a JSON array.
func placesOf(spots []spot) string {
	list := []byte{'['}
	for i, s := range spots {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, s.place, 10)
	}
	return string(append(list, ']'))
}

// search finds the first spots behind another one: with words as they are, and where no row has those, with words that begin like them. l is the
// list that they are of, from its beginning.
func (p *projection) search(ctx context.Context, listOf func(loose bool) *list, words string, after *spot, limit int) (l *list, all []spot, last *spot, err error) {
	for _, loose := range []bool{false, true} {
		l = listOf(loose)
		if err := p.spellOut(ctx, l); err != nil {
			return l, nil, nil, err
		}
		page, err := p.ordered(ctx, *l)
		if err != nil {
			return l, nil, nil, err
		}
		if after != nil {
			page.behind(*after)
		}
		all, last, err = p.find(ctx, page, limit)
		if err != nil || loose || len(all) > 0 || last != nil || !hasWord(words) {
			return l, all, last, err
		}
		if after != nil {
			before, stop, err := p.find(ctx, l.byPlace(), 1)
			if err != nil || len(before) > 0 || stop != nil {
				return l, nil, nil, err
			}
		}
	}
	return l, all, last, err
}

// mostBegin is of how many words a beginning is spelled out.
const mostBegin = 32

// spellOut asks for the words that there are in place of a beginning, where these are few: FTS5 collects all rows that have a word that begins so
// before the first is found.
func (p *projection) spellOut(ctx context.Context, l *list) error {
	if l.words != "words" {
		return nil
	}
	for i, term := range l.terms {
		field, begin, ok := strings.Cut(strings.TrimSuffix(term, beginMark), `:"`)
		if !ok || !strings.HasSuffix(term, beginMark) {
			continue
		}
		words, err := p.wordsThatBegin(ctx, strings.ToLower(begin))
		if err != nil {
			return err
		}
		if l.whole = l.whole || len(words) == 0; len(words) > 0 {
			l.terms[i] = field + `:("` + strings.Join(words, `" OR "`) + `")`
		}
	}
	return nil
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
