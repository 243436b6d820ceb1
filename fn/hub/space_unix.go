//go:build unix

package hub

import "golang.org/x/sys/unix"

// volume returns the bytes that a file system has, and those that are available
// to us.
func volume(dir string) (capacity, available int64, err error) {
	st := unix.Statfs_t{}
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	block := int64(st.Bsize)                                       //nolint:unconvert // It has another type on other systems.
	return int64(st.Blocks) * block, int64(st.Bavail) * block, nil //nolint:gosec // No volume has 8 EiB.
}
