package search

import (
	"context"
	"database/sql"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
)

// list is what is looked for: rows of a table in the order of a column, and those of one value by place.
type list struct {
	table, words string // words has the words of its rows.
	column       string
	up           bool     // The smallest comes first.
	low, high    int64    // Of the column: both are included.
	terms        []string // What a row must have, in the language of FTS5.
	among        string   // Only rows of these places, a JSON array; "": all.
	whole        bool     // It is read at once: FTS5 collects all that have a beginning of a word before the first is found.
	patient      bool     // It has all of the question's time: there is no way to go on behind it.
	where        []string
	args         []any // Those of where.
}

// spot is the position of a row in a list.
type spot struct{ key, place int64 }

func (l *list) add(condition string, args ...any) {
	l.where, l.args = append(slices.Clip(l.where), condition), append(slices.Clip(l.args), args...)
}

// direction is that of SQL, and how what comes behind compares.
func (l *list) direction() (order, behind string) {
	if l.up {
		return "", ">"
	}
	return " DESC", "<"
}

// behind leaves out what comes up to a spot.
func (l *list) behind(s spot) {
	_, than := l.direction()
	switch {
	case l.column != "place":
		l.add("(j."+l.column+", j.place) "+than+" (?, ?)", s.key, s.place)
	case l.up:
		l.low = max(l.low, s.key+1)
	default:
		l.high = min(l.high, s.key-1)
	}
}

// sql finds the first spots between two values of the order.
func (l *list) sql(low, high int64, apart bool, limit int) (statement string, args []any) {
	key, from, where := "j."+l.column, l.table+" j", append(slices.Clip(l.where), "j."+l.column+" BETWEEN ? AND ?")
	switch {
	case l.among != "":
		from, args = "json_each(?) e CROSS JOIN "+from+" ON j.place = e.value", []any{l.among}
	case len(l.terms) > 0:
		var found string
		if found, args = l.byWords(low, high, apart); len(l.where) == 0 {
			from = found + " j"
		} else {
			key, from = "w.place", found+" w CROSS JOIN "+from+" ON j.place = w.place"
		}
	}
	order, _ := l.direction()
	statement = "SELECT " + key + " AS key, j.place AS place FROM " + from + " WHERE " + strings.Join(where, " AND ") + " ORDER BY " + key + order
	if l.column != "place" {
		statement += ", j.place" + order
	}
	return statement + " LIMIT ?", slices.Concat(args, l.args, []any{low, high, limit})
}

// byWords finds places by the words of their rows. With apart, each term is looked up by itself: FTS5 looks for the first row that has several
// terms, through all that have one of them where none has all, before it goes to where a part begins.
func (l *list) byWords(low, high int64, apart bool) (found string, args []any) {
	terms := l.terms
	if !apart {
		terms = []string{strings.Join(terms, " AND ")}
	}
	var each []string
	for _, term := range terms {
		each = append(each, "SELECT rowid AS place FROM "+l.words+" WHERE "+l.words+" MATCH ? AND rowid BETWEEN ? AND ?")
		args = append(args, term, low, high)
	}
	return "(" + strings.Join(each, " INTERSECT ") + ")", args
}

// read returns the first spots between two values of the order. They are one row: the driver interrupts no statement between two rows.
func (p *projection) read(ctx context.Context, l *list, low, high int64, apart bool, limit int) (some []spot, err error) {
	statement, args := l.sql(low, high, apart, limit)
	var data []byte
	if err := p.file.conn.QueryRowContext(ctx, "SELECT json_group_array(json_array(key, place)) FROM ("+statement+")", args...).Scan(&data); err != nil {
		return nil, inFile(err)
	}
	var pairs [][2]int64
	if err := json.Unmarshal(data, &pairs); err != nil {
		return nil, inFile(err)
	}
	for _, pair := range pairs {
		some = append(some, spot{pair[0], pair[1]})
	}
	return some, nil
}

const (
	// mostSorted is how many rows are sorted for an answer. Where there are more, some are soon found in their order.
	mostSorted = 4000
	// firstParts is how many parts the first one would make of a list that is read in parts. Each is followed by one twice as large; one that
	// takes too long, at most mostOvers times by one that is smaller by divide.
	firstParts, divide, mostOvers = 256, 16, 3
	// leastShare is which part of the patience a look at the file has at least, whatever those before it took.
	leastShare = 8
)

// find returns the first spots of a list: all at once where that does not take long, and else in parts. Where the time is over, last is the spot
// up to which the list was read; nil: there are no more than these, or there are as many as wanted.
func (p *projection) find(ctx context.Context, l *list, limit int) (all []spot, last *spot, err error) {
	if l.whole {
		all, err = p.read(ctx, l, l.low, l.high, false, limit)
		return all, nil, err
	}
	end, least := p.end, p.patience/leastShare
	if hard, ok := ctx.Deadline(); ok && l.patient {
		end = hard.Add(-p.patience)
	}
	once, cancel := context.WithTimeout(ctx, max(time.Until(end)/2, least))
	defer cancel()
	all, err = p.read(once, l, l.low, l.high, false, limit)
	if err == nil || once.Err() == nil || ctx.Err() != nil {
		return all, nil, err
	}
	if time.Until(end) < least {
		end = time.Now().Add(least)
	}
	return p.sweep(ctx, l, limit, end)
}

// sweep reads a list in parts until end, one at least.
func (p *projection) sweep(ctx context.Context, l *list, limit int, end time.Time) (all []spot, last *spot, err error) {
	low, high, err := p.bounds(ctx, l)
	width, overs := (high-low)/firstParts+1, 0
	for err == nil && low <= high {
		from, to := max(low, high-width+1), high
		if l.up {
			from, to = low, min(high, low+width-1)
		}
		part, cancel := context.WithTimeout(ctx, max(time.Until(end), p.patience/leastShare<<overs))
		var some []spot
		some, err = p.read(part, l, from, to, true, limit-len(all))
		over := err != nil && part.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case over && last != nil:
			return all, last, nil
		case over:
			if overs++; overs <= mostOvers {
				width = max(width/divide, 1)
			}
			err = nil
			continue
		case err != nil || len(all)+len(some) == limit:
			return append(all, some...), nil, err
		}
		all, width = append(all, some...), min(width*2, high-low+1)
		if last = (&spot{from, 0}); l.up {
			last, low = &spot{to, math.MaxInt64}, to+1
		} else {
			high = from - 1
		}
		if time.Now().After(end) && low <= high {
			return all, last, nil
		}
	}
	return all, nil, err
}

// bounds are the least and the greatest value of a list's order that there may be. SQLite looks one of them up in an index, but not both.
func (p *projection) bounds(ctx context.Context, l *list) (low, high int64, err error) {
	var first, last sql.NullInt64
	ends := "SELECT (SELECT min(" + l.column + ") FROM " + l.table + "), (SELECT max(" + l.column + ") FROM " + l.table + ")"
	err = p.file.conn.QueryRowContext(ctx, ends).Scan(&first, &last)
	if err != nil || !first.Valid {
		return 1, 0, inFile(err)
	}
	return max(l.low, first.Int64), min(l.high, last.Int64), nil
}

// byPlace is a list in the order of place, whatever it is sorted by.
func (l *list) byPlace() *list {
	other := *l
	if other.column != "place" {
		other.column, other.low, other.high = "place", 0, math.MaxInt64
	}
	return &other
}
