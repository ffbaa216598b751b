package natsserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// lockFile is in the folder of the store and says that a server uses it.
const lockFile = "rekey.lock"

// lockStore keeps every other worker out of the folder until the file is closed or the
// process ends, however it ends. Two servers on the same files would destroy them, and
// where a server listens does not tell: it may listen nowhere. The file itself stays. Not every file system knows locks;
// there it goes on without, and says so.
func lockStore(dir string) (file *os.File, locked bool, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, false, fmt.Errorf("embedded NATS: making store_dir: %w", err)
	}
	file, err = os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("embedded NATS: locking store_dir: %w", err)
	}
	switch err := lock(file); {
	case err == nil:
		return file, true, nil
	case errors.Is(err, errors.ErrUnsupported):
		return file, false, nil
	case errors.Is(err, errLocked):
		err = fmt.Errorf("embedded NATS: store_dir %s is in use by another worker", dir)
		return nil, false, errors.Join(err, file.Close())
	default:
		err = fmt.Errorf("embedded NATS: locking store_dir: %w", err)
		return nil, false, errors.Join(err, file.Close())
	}
}

// errLocked says that another process holds the lock.
var errLocked = errors.New("locked")
