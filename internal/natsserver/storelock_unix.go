//go:build unix && !solaris && !illumos && !aix

package natsserver

import (
	"errors"
	"os"
	"syscall"
)

func lock(file *os.File) error { return flock(file, syscall.LOCK_EX) }

// lockShared takes the lock together with others who do the same.
func lockShared(file *os.File) error { return flock(file, syscall.LOCK_SH) }

func flock(file *os.File, how int) error {
	err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return err
}
