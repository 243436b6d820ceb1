package hub

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/crossplane/function-sdk-go/errors"
)

// A Space is what a volume has, in bytes.
type Space struct {
	Capacity  int64 `json:"capacityBytes"`
	Available int64 `json:"availableBytes"`
	// Used by what is in the cache.
	Used int64 `json:"usedBytes"`
}

// Space of the volume that the cache is on. A limit below what the file system
// has is for volumes that don't enforce their size, such as a directory of a
// node; 0 is none.
func (c Cache) Space(limit int64) (Space, error) {
	capacity, available, err := volume(c.Home)
	if err != nil {
		return Space{}, errors.Wrapf(err, "cannot see how large the volume at %s is", c.Home)
	}
	used, err := c.used()
	if err != nil {
		return Space{}, err
	}
	s := Space{Capacity: capacity, Available: available, Used: used}
	if limit > 0 && limit < s.Capacity {
		s.Capacity = limit
		s.Available = max(min(s.Available, limit-used), 0)
	}
	return s, nil
}

// used by files.
func (c Cache) used() (int64, error) {
	var n int64
	err := filepath.WalkDir(c.Home, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			// A volume may have a lost+found that only root reads.
			if errors.Is(err, fs.ErrPermission) && d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return err
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if i, err := d.Info(); err == nil {
			n += i.Size()
		}
		return nil
	})
	return n, errors.Wrap(err, "cannot see what is on the volume")
}

// Bytes for people.
func Bytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1024 && unit < len(units)-1 {
		f, unit = f/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[unit])
}
