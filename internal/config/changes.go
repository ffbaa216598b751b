package config

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
)

// IsReloaded reports whether a running worker takes over a change of the key. All others need a restart.
func IsReloaded(key string) bool {
	t := reflect.TypeFor[Config]()
	for part := range strings.SplitSeq(key, ".") {
		if t.Kind() != reflect.Struct {
			return false
		}
		f, ok := fieldOf(t, part)
		switch {
		case !ok:
			return false
		case f.Tag.Get("reload") == "live":
			return true
		}
		t = f.Type
	}
	return false
}

// fieldOf is the field of a struct that has a key.
func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for _, f := range fieldsOf(t) {
		if f.key == key {
			return t.Field(f.index), true
		}
	}
	return reflect.StructField{}, false
}

// Setting is a key with its value, as the file would have it. A secret is not there, but where it is kept.
type Setting struct {
	Key     string
	Value   string
	Default bool // The value is that of an empty file.
}

// Settings lists what a configuration says, in the order of the file. Members of lists have their number in the key.
func Settings(c *Config) []Setting {
	var list []Setting
	settings("", reflect.ValueOf(*c), func(key string, value any) { list = append(list, Setting{Key: key, Value: fmt.Sprint(value)}) })
	defaults := map[string]string{}
	settings("", reflect.ValueOf(*Default()), func(key string, value any) { defaults[key] = fmt.Sprint(value) })
	for i := range list {
		value, ok := defaults[list[i].Key]
		list[i].Default = ok && value == list[i].Value
	}
	return list
}

// settings calls found for each key below a value.
func settings(path string, v reflect.Value, found func(key string, value any)) {
	switch {
	case v.Type() == refType:
		for part, name := range map[part]string{partFile: "File", partEnv: "Env"} {
			if text := v.FieldByName(name).String(); text != "" {
				found(path+string(part), text)
			}
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if key := v.Type().Field(i).Tag.Get("yaml"); key != "" && v.Type().Field(i).IsExported() {
				settings(join(path, strings.TrimSuffix(key, ",inline")), v.Field(i), found)
			}
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			settings(item(path, i), v.Index(i), found)
		}
	case v.Kind() == reflect.Pointer && v.IsNil():
	case v.Kind() == reflect.Pointer:
		settings(path, v.Elem(), found)
	default:
		found(path, v.Interface())
	}
}

// Changes lists the keys that differ between two configurations, in the order of the file. Lists are named as a whole:
// "schedules", "atlas.accounts".
func Changes(before, after *Config) []string {
	return changes("", reflect.ValueOf(*before), reflect.ValueOf(*after))
}

// memberOf is a member of a map, or the zero value where it has none.
func memberOf(m reflect.Value, key string) reflect.Value {
	if member := m.MapIndex(reflect.ValueOf(key)); member.IsValid() {
		return member
	}
	return reflect.Zero(m.Type().Elem())
}

func changes(path string, before, after reflect.Value) []string {
	if before.Kind() != reflect.Struct {
		if reflect.DeepEqual(before.Interface(), after.Interface()) {
			return nil
		}
		return []string{path}
	}
	var keys []string
	for _, f := range fieldsOf(before.Type()) {
		a, b := before.Field(f.index), after.Field(f.index)
		switch f.part {
		case partNone:
		case partFile:
			a, b = a.FieldByName("File"), b.FieldByName("File")
		case partEnv:
			a, b = a.FieldByName("Env"), b.FieldByName("Env")
		case partInline:
			continue // It is in no file that was accepted.
		case partMember:
			a, b = memberOf(a, f.key), memberOf(b, f.key)
		}
		keys = append(keys, changes(join(path, f.key), a, b)...)
	}
	return keys
}

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
