package search

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What is there at a start is not read again.
func TestSearchResumes(t *testing.T) {
	t.Parallel()
	r, dir := newRig(t, 1), t.TempDir()
	for range 30 {
		r.create()
	}
	p, stop := r.project(dir)
	r.follow(p)
	stop()
	for range 5 {
		r.create()
	}
	p, _ = r.project(dir)
	if at := p.at["KV_REKEY_LEDGER"]; at.through != 30 {
		t.Errorf("it goes on behind revision %d, want 30", at.through)
	}
	r.check(p, Query{Limit: 1000})
	if at := p.at["KV_REKEY_LEDGER"]; at.through != 35 {
		t.Errorf("it got as far as revision %d, want 35", at.through)
	}
}

// A file that cannot be used is made anew, whatever is wrong with it.
func TestSearchIsMadeAnew(t *testing.T) {
	t.Parallel()
	change := func(statement string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			db, err := sql.Open("sqlite", path)
			if err == nil {
				_, err = db.Exec(statement)
			}
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name   string
		damage func(t *testing.T, path string)
	}{
		{"no database", func(t *testing.T, path string) {
			t.Helper()
			if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 4000), 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"cut off", func(t *testing.T, path string) {
			t.Helper()
			if err := os.Truncate(path, 20_000); err != nil {
				t.Fatal(err)
			}
		}},
		{"another version", change("PRAGMA user_version = 99")},
		{"another namespace", change("UPDATE facts SET value = 'other' WHERE name = 'namespace'")},
		{"a missing table", change("DROP TABLE records")},
		{"of another program", change("PRAGMA user_version = 0")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, dir := newRig(t, 1), t.TempDir()
			for range 20 {
				r.create()
			}
			p, stop := r.project(dir)
			r.follow(p)
			path := p.file.path
			stop()
			tt.damage(t, path)
			f, why, err := openFile(t.Context(), dir, "rekey")
			if err != nil || why == nil || f.path != path {
				t.Fatalf("opened %+v, because of %v, error %v", f, why, err)
			}
			if err := f.close(); err != nil {
				t.Fatal(err)
			}
			p, _ = r.project(dir)
			r.check(p, Query{Limit: 1000})
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the file is %v, %v", info.Mode(), err)
			}
		})
	}
}

// Streams that were made anew count from 1: what was read of the old ones is wrong.
func TestSearchOfOtherStreams(t *testing.T) {
	t.Parallel()
	r, dir := newRig(t, 1), t.TempDir()
	for range 3 {
		r.create()
	}
	p, _ := r.project(dir)
	r.follow(p)
	r.empty()
	if err := p.follow(t.Context(), AskJobs); !errors.Is(err, errOtherStreams) || !isBroken(err) {
		t.Errorf("the search goes on: %v", err)
	}
}

// Two workers on one host have a file each.
func TestSearchSharesNoFile(t *testing.T) {
	t.Parallel()
	r, dir := newRig(t, 1), t.TempDir()
	a, stopA := r.project(dir)
	b, _ := r.project(dir)
	if a.file.path == b.file.path {
		t.Errorf("both have %s", a.file.path)
	}
	r.create()
	r.check(a, Query{})
	r.check(b, Query{})
	stopA()
	if c, _ := r.project(dir); c.file.path != a.file.path {
		t.Errorf("the third has %s, want that of the first, which has ended", c.file.path)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil || len(files) != 2 {
		t.Errorf("the files are %q, %v", files, err)
	}
}
