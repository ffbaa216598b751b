package natsserver

import (
	"os"
	"syscall"
)

// mayWrite asks access(2) whether files may be made in a folder.
const mayWrite = 2 | 1 // W_OK and X_OK.

// writable says, as an error, why nothing can be written in a folder.
func writable(dir string) error {
	if err := syscall.Access(dir, mayWrite); err != nil {
		return &os.PathError{Op: "writing in", Path: dir, Err: err}
	}
	return nil
}

// freeBytes is how much room a folder has, 0 when that is not known.
func freeBytes(dir string) uint64 {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0
	}
	return s.Bavail * uint64(max(s.Bsize, 0))
}
