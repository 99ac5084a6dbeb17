package logs

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Rotation keeps logs from growing without end.
type Rotation struct {
	MaxSize  int64 // bytes; 0 or less turns rotation off
	MaxFiles int   // with the one being written
	// Reopen tells the runtime to write to a new file at the container's log path.
	Reopen func(ctx context.Context, containerID string) error
	Now    func() time.Time
}

// Check rotates the log of a running container when it has grown too big.
// Older files are named <log>.<time>, all but the newest of them compressed.
func (r *Rotation) Check(ctx context.Context, containerID, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		// The runtime did not reopen it after a rename.
		return r.Reopen(ctx, containerID)
	}
	if err != nil || r.MaxSize <= 0 || info.Size() < r.MaxSize {
		return err
	}
	old, err := older(path)
	if err != nil {
		return err
	}
	for len(old) > 0 && len(old) > r.MaxFiles-2 {
		if err := os.Remove(old[0]); err != nil {
			return err
		}
		old = old[1:]
	}
	for _, f := range old {
		if !strings.HasSuffix(f, ".gz") {
			if err := compress(f); err != nil {
				return err
			}
		}
	}
	renamed := path + "." + r.Now().Format("20060102-150405")
	if err := os.Rename(path, renamed); err != nil {
		return err
	}
	if err := r.Reopen(ctx, containerID); err != nil {
		return errors.Join(fmt.Errorf("reopen log %s: %w", path, err), os.Rename(renamed, path))
	}
	return nil
}

// older are the rotated files of a log, the oldest first. Leftovers of an interrupted compression are removed.
func older(path string) ([]string, error) {
	all, err := filepath.Glob(path + ".*")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range all {
		if strings.HasSuffix(f, ".tmp") {
			if err := os.Remove(f); err != nil {
				return nil, err
			}
			continue
		}
		out = append(out, f)
	}
	sort.Strings(out)
	return out, nil
}

func compress(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp := path + ".tmp"
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path+".gz"); err != nil {
		return err
	}
	return os.Remove(path)
}
