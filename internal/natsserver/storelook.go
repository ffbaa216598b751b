package natsserver

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// StoreLook is what can be seen of an embedded server's store without touching it.
type StoreLook struct {
	Missing bool   // The folder is not there; a worker makes it.
	InUse   bool   // A worker runs on it.
	Free    uint64 // Bytes that are free for it; 0 when that is not known.
	Err     error  // Why a worker could not use it.
}

// LookAtStore looks at a store. It makes nothing and writes nothing.
func LookAtStore(dir string) StoreLook {
	var look StoreLook
	there := dir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		look.Missing, there = true, nearest(dir)
	case err != nil:
		look.Err = err
		return look
	case !info.IsDir():
		look.Err = errors.New("it is not a folder")
		return look
	}
	look.Err = writable(there)
	look.Free = freeBytes(there)
	look.InUse = isLocked(filepath.Join(dir, lockFile))
	return look
}

// nearest is the closest folder above a missing one.
func nearest(dir string) string {
	if absolute, err := filepath.Abs(dir); err == nil {
		dir = absolute
	}
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// isLocked reports whether a worker holds the lock. For the moment of the look we hold it ourselves, with others who
// look: a worker that starts just then fails, and is started again.
func isLocked(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	locked := errors.Is(lockShared(f), errLocked)
	_ = f.Close() // It was only read.
	return locked
}
