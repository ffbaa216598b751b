//go:build !unix || solaris || illumos || aix

package natsserver

import (
	"errors"
	"os"
)

// lock knows no way to lock a file here.
func lock(*os.File) error { return errors.ErrUnsupported }

// lockShared knows no way either.
func lockShared(*os.File) error { return errors.ErrUnsupported }
