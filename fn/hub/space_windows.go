package hub

import "golang.org/x/sys/windows"

// volume returns the bytes that a file system has, and those that are available
// to us.
func volume(dir string) (capacity, available int64, err error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	var free, total uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &total, nil); err != nil {
		return 0, 0, err
	}
	return int64(total), int64(free), nil //nolint:gosec // No volume has 8 EiB.
}
