package deliver

import "syscall"

// leastSpace is what a file system must have for the files of a store: the new one and the one before it.
const leastSpace = 64 << 10

// space says, as an error, that a file system has no space for files of a folder, or no names for them.
func space(folder string) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return err
	}
	if s.Bavail*uint64(max(s.Bsize, 0)) < leastSpace || s.Files > 0 && s.Ffree == 0 {
		return syscall.ENOSPC
	}
	return nil
}
