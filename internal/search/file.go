package search

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// How the file is kept.
const (
	version   = 9    // Of the tables. Another one is made anew.
	maxFiles  = 64   // Workers that may share a folder.
	cacheKiB  = 4096 // What SQLite keeps of the file in memory.
	pageBytes = 8192
	// mostInMemory is up to how many bytes are kept where nothing may be written to a disk: 100,000 jobs, about.
	mostInMemory = 256 << 20
)

// errMemoryFull says that there is more than what may be kept in memory.
var errMemoryFull = fmt.Errorf("the store is encrypted, so the search keeps what it reads in memory, and %d MiB do not hold it: search.dir names a folder where it may be in the clear", mostInMemory>>20)

// errFilesTaken says that as many workers use a folder as may.
var errFilesTaken = errors.New("all files of the search are in use by other workers")

// errInUse says that another process, or another worker of this one, has the file.
var errInUse = errors.New("the file is in use")

// tables: a job's place is the moment of its acceptance, so that lists need no sorting: see place. words finds jobs by facets, which
// are hashes of single fields, and by their words; hours counts them, by the hour and (at allHours) on the whole. codes counts dead letters.
var tables = []string{
	`CREATE TABLE streams (name TEXT PRIMARY KEY, created INTEGER NOT NULL, through INTEGER NOT NULL) WITHOUT ROWID`,
	`CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID`,
	`CREATE TABLE jobs (place INTEGER PRIMARY KEY, id TEXT NOT NULL, revision INTEGER NOT NULL, finished INTEGER NOT NULL,
		hour INTEGER NOT NULL, kind TEXT NOT NULL, lane TEXT NOT NULL, state TEXT NOT NULL, outcome TEXT NOT NULL, verdict TEXT NOT NULL,
		target TEXT NOT NULL, dead INTEGER NOT NULL, proven INTEGER NOT NULL, failed INTEGER NOT NULL, alive TEXT NOT NULL)`,
	`CREATE INDEX jobs_failed_target ON jobs (target) WHERE failed > 0`,
	`CREATE TABLE records (place INTEGER PRIMARY KEY, record BLOB NOT NULL)`,
	`CREATE TABLE hours (hour INTEGER, kind TEXT, lane TEXT, state TEXT, outcome TEXT, verdict TEXT, n INTEGER NOT NULL,
		PRIMARY KEY (hour, kind, lane, state, outcome, verdict)) WITHOUT ROWID`,
	`CREATE VIRTUAL TABLE words USING fts5(facets, target, body, content='', contentless_delete=1)`,
	`INSERT INTO words (words, rank) VALUES ('automerge', 0)`,
	`INSERT INTO words (words, rank) VALUES ('crisismerge', 500)`,
	`CREATE TABLE letters (place INTEGER PRIMARY KEY, at INTEGER NOT NULL, code TEXT NOT NULL, record BLOB NOT NULL)`,
	`CREATE TABLE codes (code TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID`,
	`CREATE TRIGGER letter_put AFTER INSERT ON letters BEGIN
		INSERT INTO codes VALUES (new.code, 1) ON CONFLICT DO UPDATE SET n = n + 1; END`,
	`CREATE TRIGGER letter_dropped AFTER DELETE ON letters BEGIN UPDATE codes SET n = n - 1 WHERE code = old.code; END`,
	`CREATE VIRTUAL TABLE letter_words USING fts5(facets, target, body, content='', contentless_delete=1)`,
	`CREATE TABLE endings (place INTEGER PRIMARY KEY, at INTEGER NOT NULL, job TEXT NOT NULL, ending TEXT NOT NULL, proof INTEGER NOT NULL)`,
	`CREATE INDEX endings_job ON endings (job)`,
}

// indexes are made when the first reading of the ledger is over: each at once takes a fraction of what it takes job by job. Until
// then, parts of the words are left as they were written, up to 500 of the 2,000 that there may be; then they become one, as each that is left
// costs every look at a word.
var indexes = []string{
	`CREATE UNIQUE INDEX jobs_id ON jobs (id)`,
	`CREATE INDEX jobs_revision ON jobs (revision)`,
	`CREATE INDEX jobs_finished ON jobs (finished)`,
	`CREATE INDEX jobs_ended ON jobs (outcome, finished) WHERE finished > 0`,
	`CREATE INDEX jobs_dead ON jobs (dead) WHERE dead > 0`,
	`CREATE INDEX jobs_proven ON jobs (proven) WHERE proven > 0`,
	`CREATE INDEX jobs_failed ON jobs (failed) WHERE failed > 0`,
	`CREATE INDEX jobs_alive ON jobs (alive) WHERE alive > ''`,
	`CREATE INDEX jobs_open ON jobs (lane) WHERE state <> 'done'`,
	`INSERT INTO words (words) VALUES ('optimize')`,
	`INSERT INTO words (words, rank) VALUES ('automerge', 4)`,
	`INSERT INTO words (words, rank) VALUES ('crisismerge', 16)`,
}

// file is the open SQLite file. It has one connection, which locks the file for other processes.
type file struct {
	path    string
	db      *sql.DB
	conn    *sql.Conn
	indexed bool
}

// index makes the indexes where they are missing.
func (f *file) index() error {
	if f.indexed {
		return nil
	}
	err := f.write(func(w *writer) error {
		for _, statement := range indexes {
			if err := w.run(statement); err != nil {
				return err
			}
		}
		return nil
	})
	f.indexed = err == nil
	return inFile(err)
}

// openFile opens the first file of a folder that no other worker has, and makes it where it is missing or cannot be used; why says
// why it could not.
func openFile(ctx context.Context, dir, namespace string) (f *file, why error, err error) {
	if dir == InMemory {
		f, err = openPath(ctx, InMemory, namespace)
		return f, nil, err
	}
	for n := range maxFiles {
		path := filePath(dir, namespace, n)
		f, err = openPath(ctx, path, namespace)
		if errors.Is(err, errInUse) {
			continue
		}
		if err != nil && ctx.Err() == nil && !isFull(err) {
			why = err
			if err = removeFile(path); err == nil {
				f, err = openPath(ctx, path, namespace)
			}
		}
		if !errors.Is(err, errInUse) {
			return f, why, err
		}
	}
	return nil, nil, errFilesTaken
}

func filePath(dir, namespace string, n int) string {
	return filepath.Join(dir, fmt.Sprintf("search-%s-%d.db", namespace, n))
}

// Delete deletes the files of a folder.
func Delete(dir, namespace string) error {
	var errs []error
	for n := range maxFiles {
		errs = append(errs, removeFile(filePath(dir, namespace, n)))
	}
	return errors.Join(errs...)
}

func openPath(ctx context.Context, path, namespace string) (*file, error) {
	if path != InMemory {
		if err := ownFile(path); err != nil {
			return nil, err
		}
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	f := &file{path: path, db: db}
	if f.conn, err = db.Conn(ctx); err == nil {
		err = f.prepare(ctx, namespace)
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// ownFile makes a file that only its owner may read, or takes that right from others.
func ownFile(path string) error {
	created, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		return created.Close()
	}
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = os.Chmod(path, 0o600)
	}
	return err
}

// removeFile deletes a file that cannot be used, and its journal. Only regular files are deleted.
func removeFile(path string) error {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", path)
	}
	for _, name := range []string{path, path + "-journal"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// prepare locks the file and makes the tables where they are missing.
func (f *file) prepare(ctx context.Context, namespace string) error {
	pragmas := []string{
		fmt.Sprintf("page_size = %d", pageBytes), "locking_mode = EXCLUSIVE", "journal_mode = TRUNCATE", "synchronous = OFF",
		fmt.Sprintf("cache_size = -%d", cacheKiB), "trusted_schema = OFF",
	}
	if f.path == InMemory { // Also what is sorted.
		pragmas = append(pragmas, "temp_store = MEMORY", fmt.Sprintf("max_page_count = %d", mostInMemory/pageBytes))
	}
	for _, pragma := range pragmas {
		if _, err := f.conn.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
			return inUse(err)
		}
	}
	if _, err := f.conn.ExecContext(ctx, "BEGIN EXCLUSIVE"); err != nil {
		return inUse(err)
	}
	if err := f.fill(ctx, namespace); err != nil {
		return err // The file is closed, and with it the transaction.
	}
	if _, err := f.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return err
	}
	_, err := f.conn.ExecContext(ctx, "CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab('main', 'words', 'instance')")
	return err
}

// fill makes the tables of an empty file, and refuses one that holds something else.
func (f *file) fill(ctx context.Context, namespace string) error {
	var has, objects int
	if err := f.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&has); err != nil {
		return err
	}
	if err := f.conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&objects); err != nil {
		return err
	}
	switch {
	case has == version:
		return f.check(ctx, namespace)
	case objects > 0:
		return fmt.Errorf("it has version %d, this worker needs version %d", has, version)
	}
	for _, statement := range append(tables, fmt.Sprintf("PRAGMA user_version = %d", version)) {
		if _, err := f.conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	_, err := f.conn.ExecContext(ctx, "INSERT INTO facts VALUES ('namespace', ?)", namespace)
	return err
}

// check reports, as an error, that the file is of another namespace, or lacks what it should have.
func (f *file) check(ctx context.Context, namespace string) error {
	var has string
	if err := f.conn.QueryRowContext(ctx, "SELECT value FROM facts WHERE name = 'namespace'").Scan(&has); err != nil {
		return err
	}
	if has != namespace {
		return fmt.Errorf("it is of the namespace %q", has)
	}
	for _, table := range []string{"jobs", "records", "hours", "words", "letters", "codes", "letter_words", "endings", "streams"} {
		var n int
		if err := f.conn.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM "+table+" LIMIT 1)").Scan(&n); err != nil {
			return err
		}
	}
	return f.conn.QueryRowContext(ctx, "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'jobs_id'").Scan(&f.indexed)
}

// each calls do for each row that a query finds.
func (f *file) each(ctx context.Context, query string, args []any, do func(scan func(...any) error) error) (err error) {
	rows, err := f.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return inFile(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := do(rows.Scan); err != nil {
			return inFile(err)
		}
	}
	return inFile(rows.Err())
}

// column is the first column of what a query finds.
func column[T any](f *file, query string, args ...any) (list []T, err error) {
	err = f.each(background, query, args, func(scan func(...any) error) error {
		var one T
		err := scan(&one)
		list = append(list, one)
		return err
	})
	return list, err
}

func (f *file) close() error {
	var err error
	if f.conn != nil {
		err = f.conn.Close()
	}
	return errors.Join(err, f.db.Close())
}

// inUse names the error of a file that is locked.
func inUse(err error) error {
	if hasCode(err, sqlite3.SQLITE_BUSY) || hasCode(err, sqlite3.SQLITE_LOCKED) {
		return errInUse
	}
	return err
}

// isFull reports whether the disk is full or closed to the worker: the file is as good as before.
func isFull(err error) bool {
	return hasCode(err, sqlite3.SQLITE_FULL) || hasCode(err, sqlite3.SQLITE_CANTOPEN) || hasCode(err, sqlite3.SQLITE_READONLY) ||
		errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist)
}

func hasCode(err error, code int) bool {
	failure, ok := errors.AsType[*sqlite.Error](err)
	return ok && failure.Code()&0xff == code
}
