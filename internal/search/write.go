package search

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"rekey/internal/bus"
)

// writer changes the tables within one transaction. Texts and counts are written at its end: SQLite writes what the words have in
// memory whenever it goes back and forth between tables.
type writer struct {
	*file
	known  map[string]*sql.Stmt
	counts map[group]int
	texts  []textChange
}

// textChange takes a row out of the words, or puts it there, or both.
type textChange struct {
	table string
	place int64
	gone  bool
	text  text
}

// background is that of writes: a transaction is short, and is not ended half-way.
var background = context.Background()

// write changes the file in one transaction.
func (f *file) write(change func(*writer) error) (err error) {
	w := &writer{file: f, known: map[string]*sql.Stmt{}, counts: map[group]int{}}
	if err := w.run("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err = change(w); err == nil {
		err = w.finish()
	}
	for _, statement := range w.known {
		err = errors.Join(err, statement.Close())
	}
	if err != nil {
		if f.path == InMemory && hasCode(err, sqlite3.SQLITE_FULL) {
			err = errMemoryFull
		}
		_, undone := f.conn.ExecContext(background, "ROLLBACK")
		return errors.Join(err, undone)
	}
	_, err = f.conn.ExecContext(background, "COMMIT")
	return err
}

// exec runs a statement, which is prepared once, and returns how many rows it has changed.
func (w *writer) exec(statement string, args ...any) (int64, error) {
	prepared, err := w.prepare(statement)
	if err != nil {
		return 0, err
	}
	result, err := prepared.ExecContext(background, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (w *writer) run(statement string, args ...any) error {
	_, err := w.exec(statement, args...)
	return err
}

func (w *writer) prepare(statement string) (*sql.Stmt, error) {
	if prepared := w.known[statement]; prepared != nil {
		return prepared, nil
	}
	prepared, err := w.conn.PrepareContext(background, statement)
	if err == nil {
		w.known[statement] = prepared
	}
	return prepared, err
}

// finish writes what was put off: the words in the order of their places, since FTS5 makes a part of its own of what goes back.
func (w *writer) finish() error {
	slices.SortStableFunc(w.texts, func(a, b textChange) int { return cmp.Compare(a.place, b.place) })
	for _, change := range w.texts {
		if change.gone {
			if err := w.run("DELETE FROM "+change.table+" WHERE rowid = ?", change.place); err != nil {
				return err
			}
		}
		if change.text == (text{}) {
			continue
		}
		err := w.run("INSERT INTO "+change.table+" (rowid, facets, target, body) VALUES (?, ?, ?, ?)", change.place, change.text.facets, change.text.target, change.text.body)
		if err != nil {
			return err
		}
	}
	for g, n := range w.counts {
		if n == 0 {
			continue
		}
		err := w.run("INSERT INTO hours VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", g.hour, g.kind, g.lane, g.state, g.outcome, g.verdict, n)
		if err == nil && n < 0 {
			err = w.run("DELETE FROM hours WHERE hour = ? AND kind = ? AND lane = ? AND state = ? AND outcome = ? AND verdict = ? AND n = 0", g.hour, g.kind, g.lane, g.state, g.outcome, g.verdict)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// allHours is the hour of counts that are of all hours.
const allHours = -1

// count adds to the jobs of a group, in its hour and on the whole.
func (w *writer) count(g group, n int) {
	w.counts[g] += n
	g.hour = allHours
	w.counts[g] += n
}

// putJob writes a job as it is now.
func (w *writer) putJob(r row) error {
	for range places {
		n, err := w.exec("INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", r.place, r.id, r.revision, r.finished,
			r.group.hour, r.group.kind, r.group.lane, r.group.state, r.group.outcome, r.group.verdict, r.target, r.dead, r.proven, r.failed, r.alive)
		if err != nil {
			return err
		}
		if n == 1 {
			w.count(r.group, 1)
			w.texts = append(w.texts, textChange{table: "words", place: r.place, text: r.text})
			if err := w.run("INSERT INTO records VALUES (?, ?)", r.place, r.record); err != nil || r.dead == 0 {
				return err
			}
			return w.run("UPDATE jobs SET failed = 0 WHERE failed > 0 AND target = ? AND kind = ? AND place < ?", r.target, r.group.kind, r.place)
		}
		was, err := w.dropJob(r.id)
		if err != nil {
			return err
		}
		if was != 0 {
			r.place = was
		} else { // Another job has the place.
			r.place++
		}
	}
	return fmt.Errorf("job %s has no place: too many were accepted at its moment", r.id)
}

// dropJob takes a job out, and returns the place that it had; 0: it is not there.
func (w *writer) dropJob(id string) (was int64, err error) {
	if !w.indexed { // In the first reading, no job is met twice.
		return 0, nil
	}
	prepared, err := w.prepare("SELECT place, hour, kind, lane, state, outcome, verdict FROM jobs WHERE id = ?")
	if err != nil {
		return 0, err
	}
	var g group
	err = prepared.QueryRowContext(background, id).Scan(&was, &g.hour, &g.kind, &g.lane, &g.state, &g.outcome, &g.verdict)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	w.count(g, -1)
	w.texts = append(w.texts, textChange{table: "words", place: was, gone: true})
	if err == nil {
		err = w.run("DELETE FROM records WHERE place = ?", was)
	}
	if err == nil {
		err = w.run("DELETE FROM jobs WHERE place = ?", was)
	}
	return was, err
}

// dropJobsBelow takes out some of the jobs whose records have expired, and reports whether there may be more.
func (w *writer) dropJobsBelow(revision uint64) (more bool, err error) {
	ids, err := column[string](w.file, "SELECT id FROM jobs WHERE revision < ? LIMIT ?", revision, batchRows)
	for _, id := range ids {
		if err == nil {
			_, err = w.dropJob(id)
		}
	}
	return len(ids) == batchRows, err
}

// putLetter writes a dead letter.
func (w *writer) putLetter(d *bus.DeadLetter, record []byte) error {
	n, err := w.exec("INSERT OR IGNORE INTO letters VALUES (?, ?, ?, ?)", d.Number, micros(d.At), d.Code, record)
	if err == nil && n == 1 {
		w.texts = append(w.texts, textChange{table: "letter_words", place: int64(d.Number), text: letterText(d)})
	}
	return err
}

// dropLetters takes out the letters that their stream has no more.
func (w *writer) dropLetters(first uint64, deleted []uint64) error {
	below, err := column[uint64](w.file, "SELECT place FROM letters WHERE place < ?", first)
	if err != nil {
		return err
	}
	for _, n := range append(below, deleted...) {
		gone, err := w.exec("DELETE FROM letters WHERE place = ?", n)
		if err == nil && gone > 0 {
			err = w.run("DELETE FROM letter_words WHERE rowid = ?", n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// putEnding writes that a result or a proof was announced.
func (w *writer) putEnding(e ending) error {
	return w.run("INSERT OR IGNORE INTO endings VALUES (?, ?, ?, ?, ?)", e.seq, micros(e.at), e.job, e.says, e.proof)
}

// ending is a result or the verdict of a proof, as it was announced.
type ending struct {
	seq   uint64
	at    time.Time
	job   string
	says  string
	proof bool
}

// endingOf reads of a message of the stream of results what its subject and its id say; ok is false for one that is neither
// result nor proof.
func endingOf(subject, id string) (e ending, ok bool) {
	parts := strings.Split(subject, ".")
	if len(parts) < 3 {
		return e, false
	}
	e.says, e.proof = parts[len(parts)-1], parts[len(parts)-3] == "proof"
	e.job, _, _ = strings.Cut(id, ".")
	return e, e.job != "" && (e.proof || parts[len(parts)-3] == "result")
}
