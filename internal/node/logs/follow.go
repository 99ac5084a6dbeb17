package logs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// follower waits for more of a log.
type follower struct {
	path string
	w    *fsnotify.Watcher
}

func newFollower(path string) (*follower, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := w.Add(filepath.Dir(path)); err != nil {
		w.Close()
		return nil, err
	}
	return &follower{path, w}, nil
}

func (f *follower) close() { _ = f.w.Close() }

// endCheck is how often a quiet log's container is asked for: its end writes nothing.
const endCheck = time.Second

// wait for more to read: it gives cur when that grew, another file when the log was rotated and cur is read to its end, and nil
// when the container has ended.
func (f *follower) wait(ctx context.Context, cur *os.File, running func() bool) (*os.File, error) {
	t := time.NewTicker(endCheck)
	defer t.Stop()
	for {
		// Whatever changed between the last read and now is seen here, so no event can be missed.
		if more, err := grew(cur); err != nil || more {
			return cur, err
		}
		if next, err := f.rotated(cur); err != nil || next != nil {
			return next, err
		}
		if running != nil && !running() {
			if more, err := grew(cur); err != nil || more {
				return cur, err
			}
			return nil, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case _, ok := <-f.w.Events:
			if !ok {
				return nil, errors.New("log watch ended")
			}
		case err := <-f.w.Errors:
			return nil, err
		case <-t.C:
		}
	}
}

// grew says whether there is more behind the place read so far.
func grew(f *os.File) (bool, error) {
	at, err := f.Seek(0, 1)
	if err != nil {
		return false, err
	}
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	return info.Size() > at, nil
}

func (f *follower) rotated(cur *os.File) (*os.File, error) {
	now, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // between the rename and the runtime's new file, or removed with its container
	}
	if err != nil {
		return nil, err
	}
	have, err := cur.Stat()
	if err != nil || os.SameFile(now, have) {
		return nil, err
	}
	return os.Open(f.path)
}
