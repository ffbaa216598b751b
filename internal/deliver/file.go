package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"rekey/internal/secret"
)

const (
	// PreviousSuffix is the end of the name of the file with the secret before the current one.
	PreviousSuffix = ".previous"
	newSuffix      = ".new" // Of a file that is being written. A crash may leave it; the next delivery removes it.
	defaultMode    = 0o600
	maxFileBytes   = 64 << 10 // A larger file is a wrong path.
)

// file is a store of the type file.
type file struct {
	path  string
	owner string
	mode  fs.FileMode
}

func newFile(c Config) (*file, error) {
	f := &file{path: c.Path, owner: c.Owner, mode: defaultMode}
	if c.Mode != "" {
		mode, err := strconv.ParseUint(c.Mode, 8, 32)
		if err != nil {
			return nil, fmt.Errorf("mode: %w", err)
		}
		f.mode = fs.FileMode(mode)
	}
	return f, nil
}

// Name implements Store.
func (f *file) Name() string { return "file " + f.path }

// Delivered implements Store.
func (f *file) Delivered(_ context.Context, c Credential) (bool, error) {
	now, err := f.current()
	if err != nil {
		return false, f.failure("reading the file", err)
	}
	return secret.New(now.text).Equal(secret.New(c.Value.Reveal() + "\n")), nil
}

// Deliver implements Store. The file is copied to its previous one first, and replaced then: a crash in between leaves the
// old secret in both, and the same delivery goes on from there. Where the previous one is delivered, its file is removed last.
func (f *file) Deliver(_ context.Context, c Credential) error {
	if err := usable(c); err != nil {
		return f.failure("checking the secret", err)
	}
	if err := os.Remove(f.path + newSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.failure("removing what a delivery left that was cut off", err)
	}
	now, err := f.current()
	if err != nil {
		return f.failure("reading the file", err)
	}
	uid, gid, err := f.ids(now)
	if err != nil {
		return f.failure("looking up the owner", err)
	}
	before, err := f.previous()
	if err != nil {
		return f.failure("reading the previous secret", err)
	}
	text, back := c.Value.Reveal()+"\n", before == c.Value.Reveal()
	// What differs in its line feed alone is the same secret, and not the one before.
	if held := strings.TrimSpace(now.text); held != "" && held != c.Value.Reveal() && !back {
		if err := f.replace(f.path+PreviousSuffix, now.text, uid, gid); err != nil {
			return f.failure("keeping the previous secret", err)
		}
	}
	if now.text == text {
		err = f.sync() // The delivery before may have been cut off before the disk had it.
	} else {
		err = f.replace(f.path, text, uid, gid)
	}
	if err == nil && back {
		err = errors.Join(os.Remove(f.path+PreviousSuffix), syncPath(filepath.Dir(f.path)))
	}
	return f.failure("writing the secret", err)
}

// Held implements Reader.
func (f *file) Held(context.Context) (current, previous secret.Value, err error) {
	now, err := f.current()
	if err != nil {
		return secret.Value{}, secret.Value{}, f.failure("reading the file", err)
	}
	before, err := f.previous()
	if err != nil {
		return secret.Value{}, secret.Value{}, f.failure("reading the previous secret", err)
	}
	return secret.New(strings.TrimSpace(now.text)), secret.New(before), nil
}

// previous is the secret in the previous file, "" when there is none.
func (f *file) previous() (string, error) {
	before, err := (&file{path: f.path + PreviousSuffix}).current()
	return strings.TrimSpace(before.text), err
}

// Inspect implements Inspector.
func (f *file) Inspect(context.Context) (string, error) {
	now, err := f.current()
	if err != nil {
		return "", f.failure("reading the file", err)
	}
	if _, _, err := f.ids(now); err != nil {
		return "", f.failure("looking up the owner", err)
	}
	folder := filepath.Dir(f.path)
	info, err := os.Stat(folder)
	if err != nil {
		return "", f.failure("looking at the folder", err)
	}
	const write, search = 2, 1
	if err := syscall.Access(folder, write|search); err != nil {
		return "", f.failure("looking at the folder", fmt.Errorf("it cannot be written: %w", err))
	}
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return "", f.failure("looking at the folder", errors.New("every user can replace its files: take the right to write from others"))
	}
	if err := space(folder); err != nil {
		return "", f.failure("looking at the space of the folder", err)
	}
	if now.text == "" {
		return "the folder can be written; the file does not exist yet", nil
	}
	return "the file exists, and its folder can be written", nil
}

// content is a file as it was found.
type content struct {
	text     string
	uid, gid int // -1 where there is no file.
}

// current reads the file. A file that does not exist is empty.
func (f *file) current() (found content, err error) {
	found = content{uid: -1, gid: -1}
	info, err := os.Lstat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return found, err
	}
	if !info.Mode().IsRegular() {
		return found, fmt.Errorf("it is no regular file (%s)", info.Mode().Type())
	}
	open, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, open.Close()) }()
	if info, err = open.Stat(); err != nil {
		return found, err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		found.uid, found.gid = int(owner.Uid), int(owner.Gid)
	}
	text, err := io.ReadAll(io.LimitReader(open, maxFileBytes+1))
	if err == nil && len(text) > maxFileBytes {
		err = fmt.Errorf("it is larger than %d KiB, which no secret is", maxFileBytes>>10)
	}
	found.text = string(text)
	return found, err
}

// replace writes a file whole, or not at all: what reads it meanwhile sees the old content or the new.
func (f *file) replace(path, text string, uid, gid int) (err error) {
	half, err := os.OpenFile(f.path+newSuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, defaultMode)
	if err != nil {
		return err
	}
	defer func() {
		if gone := os.Remove(half.Name()); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}()
	// The owner comes first: a new owner may take bits from the mode.
	if uid >= 0 || gid >= 0 {
		err = half.Chown(uid, gid)
	}
	if err == nil {
		err = half.Chmod(f.mode)
	}
	if err == nil {
		_, err = half.WriteString(text)
	}
	if err := errors.Join(err, half.Sync(), half.Close()); err != nil {
		return err
	}
	if err := os.Rename(half.Name(), path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

// sync has the disk hold the file and its name.
func (f *file) sync() error {
	return errors.Join(syncPath(f.path), syncPath(filepath.Dir(f.path)))
}

func syncPath(path string) error {
	open, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(open.Sync(), open.Close())
}

// ids are those of the user and group that the file belongs to: as configured, else as before; -1 for the worker's own.
func (f *file) ids(now content) (uid, gid int, err error) {
	if f.owner == "" {
		return now.uid, now.gid, nil
	}
	name, group, _ := strings.Cut(f.owner, ":")
	if uid, err = strconv.Atoi(name); err != nil {
		found, err := user.Lookup(name)
		if err != nil {
			return 0, 0, err
		}
		if uid, err = strconv.Atoi(found.Uid); err != nil {
			return 0, 0, fmt.Errorf("user %s has no number", name)
		}
	}
	if group == "" {
		return uid, now.gid, nil
	}
	if gid, err = strconv.Atoi(group); err != nil {
		found, err := user.LookupGroup(group)
		if err != nil {
			return 0, 0, err
		}
		if gid, err = strconv.Atoi(found.Gid); err != nil {
			return 0, 0, fmt.Errorf("group %s has no number", group)
		}
	}
	return uid, gid, nil
}

// passing are errors of a file system that may pass by themselves: a full disk is emptied, a volume is mounted. A file that is
// not as it must be, or may not be written, needs an operator.
var passing = []syscall.Errno{
	syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EAGAIN, syscall.EINTR, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	syscall.ENOENT, syscall.ENOTCONN, syscall.ESTALE, syscall.ETIMEDOUT,
}

// failure is an error of the file system as a *Failure; nil for none.
func (f *file) failure(doing string, err error) error {
	if err == nil {
		return nil
	}
	passes := slices.ContainsFunc(passing, func(code syscall.Errno) bool { return errors.Is(err, code) })
	return &Failure{Store: f.Name(), Retryable: passes, Err: fmt.Errorf("%s: %w", doing, err)}
}
