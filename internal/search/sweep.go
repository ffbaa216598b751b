package search

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"
)

// list is a query that becomes SQL.
type list struct {
	table, column string // By which it is sorted, and swept;
	from, order   string // and as they are called in it.
	up            bool   // The smallest comes first.
	whole         bool   // It is read at once: it is found in another order than it is sorted in, or parts take as long.
	patient       bool   // It has all of the question's time: there is no way to go on behind it.
	where         []string
	args          []any
	words         string   // The table of words that it is found by, as w; and
	terms         []string // what it must have of them.
}

// find chooses by terms. It is to be the first condition.
func (l *list) find(words string, terms []string) {
	l.words, l.terms = words, terms
	l.add("w."+words+" MATCH ?", strings.Join(terms, " AND "))
}

func (l *list) add(condition string, args ...any) {
	l.where, l.args = append(slices.Clip(l.where), condition), append(slices.Clip(l.args), args...)
}

func (l *list) sql(columns, tail string) string {
	statement := "SELECT " + columns + " FROM " + l.from
	if len(l.where) > 0 {
		statement += " WHERE " + strings.Join(l.where, " AND ")
	}
	return statement + tail
}

// between is the part of a list between two values of its order. FTS5 looks for the first row that has several terms before it goes to where a
// part begins, through all that have one of them where none has all; so each term is looked up by itself.
func (l *list) between(from, to int64) *list {
	part := *l
	part.add(l.order+" BETWEEN ? AND ?", from, to)
	if len(l.terms) < 2 || l.order != "w.rowid" {
		return &part
	}
	part.args[0] = l.terms[0]
	for _, term := range l.terms[1:] {
		part.add("w.rowid IN (SELECT rowid FROM "+l.words+" WHERE "+l.words+" MATCH ? AND rowid BETWEEN ? AND ?)", term, from, to)
	}
	return &part
}

// byPlace is a list that is swept by place, whatever it is sorted by.
func (l *list) byPlace() *list {
	other := *l
	if other.column = "place"; len(l.terms) > 0 {
		other.order = "w.rowid"
	} else if strings.HasPrefix(l.order, "j.") {
		other.order = "j.place"
	}
	return &other
}

// by is the order.
func (l *list) by() string {
	if strings.HasPrefix(l.order, "j.") {
		return " ORDER BY " + l.order + l.direction() + ", j.place" + l.direction()
	}
	return " ORDER BY " + l.order + l.direction()
}

func (l *list) direction() string {
	if l.up {
		return ""
	}
	return " DESC"
}

// first are the first records. Those that are sorted by something else than their place are read when they are chosen.
func (l *list) first() string {
	if !strings.HasPrefix(l.order, "j.") {
		return l.sql("r.record", l.by()+" LIMIT ?")
	}
	chosen := l.sql(l.order+" AS key, j.place AS place", l.by()+" LIMIT ?")
	return "SELECT r.record FROM (" + chosen + ") f JOIN records r ON r.place = f.place ORDER BY f.key" + l.direction() + ", f.place" + l.direction()
}

const (
	// swept is where a sweep stops that has seen everything, or enough.
	swept = -1
	// A part is read for one of sliceShare of the patience before smaller parts are, and divide is by how much smaller they are. The first parts
	// are the smallest by far, as each that has nothing is followed by one twice as large.
	sliceShare = 2
	divide     = 16
	firstParts = 256 // How many the first part would make of the list.
	// mostOvers is how many parts take too long before the next ones have all of the question's time: on a busy machine, no part may be small enough.
	mostOvers = 3
)

// sweep reads a list in its order, at once where that does not take long, and else in parts. What read returns an error for, it must
// not keep: that part is read again in smaller ones. Where the patience is over and a part was read, or the time of ctx is over, stop is
// the value of the order up to which all was read.
func (p *projection) sweep(ctx context.Context, l *list, read func(context.Context, *list) (enough bool, err error)) (stop int64, err error) {
	if l.whole {
		_, err := read(ctx, l)
		return swept, err
	}
	end := time.Now().Add(p.patience)
	if over, _, err := p.slice(ctx, l, read, false); !over {
		return swept, err
	}
	var low, high sql.NullInt64
	err = p.file.conn.QueryRowContext(background, "SELECT min("+l.column+"), max("+l.column+") FROM "+l.table).Scan(&low, &high)
	if err != nil || !low.Valid {
		return swept, inFile(err)
	}
	done, width, overs := int64(0), (high.Int64-low.Int64)/firstParts+1, 0 // done is how much of the range was read.
	for low.Int64+done <= high.Int64 {
		from, to := low.Int64+done, min(low.Int64+done+width-1, high.Int64)
		if !l.up {
			from, to = max(high.Int64-done-width+1, low.Int64), high.Int64-done
		}
		if ctx.Err() != nil || !l.patient && done > 0 && time.Now().After(end) {
			return l.last(from, to), nil //nolint:nilerr // The answer says how far it goes.
		}
		over, enough, err := p.slice(ctx, l.between(from, to), read, overs >= mostOvers)
		if enough || err != nil && !over {
			return swept, err
		}
		if over {
			width, overs = max(width/divide, 1), overs+1
			continue
		}
		done, width = done+width, min(width*2, high.Int64-low.Int64+1)
	}
	return swept, nil
}

// last is the value before a part that is to be read next.
func (l *list) last(from, to int64) int64 {
	if l.up {
		return from - 1
	}
	return to + 1
}

// slice reads a part, and reports whether that took too long.
func (p *projection) slice(ctx context.Context, l *list, read func(context.Context, *list) (bool, error), patient bool) (over, enough bool, err error) {
	patience := p.patience / sliceShare
	if patient {
		patience = queryTimes * p.patience
	} else if strings.HasPrefix(l.order, "j.") { // Each job may be looked up in the words, which takes as long in a small part.
		patience = p.patience * sliceShare
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	enough, err = read(ctx, l)
	return err != nil && (ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded)), enough, err
}
