package testmain

import (
	"os"
	"path/filepath"
	"syscall"
)

// memory is where Linux has a file system in memory.
const memory = "/dev/shm"

// least is how much room there must be, in bytes. Containers often have 64 MiB.
const least = 2 << 30

// What statfs(2) says of a file system.
const (
	isMemory = 0x01021994 // TMPFS_MAGIC.
	noExec   = 0x8        // ST_NOEXEC: some tests run programs from their folder.
)

// inMemory makes a folder in memory, and returns "" where there is none with enough room. It removes what killed tests have left:
// no process holds its lock.
func inMemory() (dir string, remove func()) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(memory, &s); err != nil || s.Type != isMemory || s.Flags&noExec != 0 || s.Bavail*uint64(max(s.Bsize, 0)) < least {
		return "", nil
	}
	all, err := lock(memory, syscall.LOCK_EX) // Until the new folder has its lock.
	if err != nil {
		return "", nil
	}
	defer all.Close()
	left, err := filepath.Glob(filepath.Join(memory, "rekey-tests-*"))
	if err != nil {
		panic(err) // The pattern is wrong.
	}
	for _, folder := range left {
		if free, err := lock(folder, syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			_ = os.RemoveAll(folder) // It may belong to another user.
			free.Close()
		}
	}
	return newFolder()
}

// newFolder makes a folder that is locked.
func newFolder() (dir string, remove func()) {
	dir, err := os.MkdirTemp(memory, "rekey-tests-")
	if err != nil {
		return "", nil
	}
	own, err := lock(dir, syscall.LOCK_EX)
	if err != nil {
		panic(err) // It is ours alone.
	}
	return dir, func() {
		_ = os.RemoveAll(dir) // The next tests remove what is left.
		own.Close()
	}
}

// lock locks a folder for as long as it is open, or this process lives.
func lock(dir string, how int) (*os.File, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(folder.Fd()), how); err != nil {
		folder.Close()
		return nil, err
	}
	return folder, nil
}
