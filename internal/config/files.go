package config

import (
	"bytes"
	"crypto/sha256"
	"os"
	"slices"
	"time"
)

const (
	// settledAfter is how old a file's time must be for it to tell whether the file has changed: some file systems
	// count in seconds.
	settledAfter = 3 * time.Second
	// readAnyway is how often the files are read although nothing about them has changed from outside.
	readAnyway = time.Minute
)

// Files are a configuration file and those of its folder of policies, of which it is to be known whether they have
// changed. Looking often costs nothing: they are read when their size, time or place on the disk has changed, and are
// not parsed for it.
type Files struct {
	path string

	seen []os.FileInfo // As they were when they were read last.
	read time.Time     // When that was.
	sum  [sha256.Size]byte

	main  [sha256.Size]byte // Of the file alone, and the folder that it names.
	dir   string
	empty bool // There is nothing in it.
}

// NewFiles returns the files of a configuration, of which nothing is known yet.
func NewFiles(path string) *Files { return &Files{path: path} }

// Sum is a hash of the content of the files. Files that cannot be read have the hash of the error.
func (f *Files) Sum() [sha256.Size]byte {
	now := time.Now()
	seen, err := f.stat()
	if err == nil && f.isSame(seen) && now.Sub(f.read) < readAnyway && !slices.ContainsFunc(seen, func(i os.FileInfo) bool { return now.Sub(i.ModTime()).Abs() < settledAfter }) {
		return f.sum
	}
	// What changes from here on is seen the next time.
	f.seen, f.read = seen, now
	data, err := f.readAll()
	if err != nil {
		f.seen = nil
		data = []byte("error\x00" + err.Error())
	}
	f.sum = sha256.Sum256(data)
	return f.sum
}

// IsEmpty reports whether the configuration file was empty when it was read last.
func (f *Files) IsEmpty() bool { return f.empty }

// stat looks at the files from outside.
func (f *Files) stat() ([]os.FileInfo, error) {
	names := []string{f.path}
	if f.dir != "" {
		files, err := policyFiles(f.dir)
		if err != nil {
			return nil, err
		}
		names = append(names, files...)
	}
	list := make([]os.FileInfo, 0, len(names))
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		list = append(list, info)
	}
	return list, nil
}

func (f *Files) isSame(now []os.FileInfo) bool {
	return f.seen != nil && slices.EqualFunc(f.seen, now, func(a, b os.FileInfo) bool {
		return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Name() == b.Name()
	})
}

// readAll reads the files. Which folder the first one names is known as long as it stays the same.
func (f *Files) readAll() ([]byte, error) {
	data, err := readFile(f.path)
	if err != nil {
		f.empty = false
		return nil, err
	}
	if main := sha256.Sum256(data); main != f.main {
		f.main, f.dir, f.seen = main, policyDir(data), nil // The folder's files were not looked at.
	}
	f.empty = len(bytes.TrimSpace(data)) == 0
	return appendPolicies(data, f.dir)
}
