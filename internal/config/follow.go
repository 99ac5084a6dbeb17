package config

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// Follow calls changed whenever the content of a file is another one, until ctx ends. It calls it at once when the file is not any more what
// it was when seen was taken (see [Digest]). A file that is away for a moment, since it is being replaced, is waited for.
func Follow(ctx context.Context, path string, seen [32]byte, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching %s: %w", path, err)
	}
	defer w.Close()
	// The directory, not the file: files are replaced, and mounted secrets are links that move.
	if err := w.Add(filepath.Dir(path)); err != nil {
		return fmt.Errorf("watching %s: %w", path, err)
	}
	for {
		now, err := Digest(path)
		switch {
		case err == nil && now != seen:
			seen = now
			changed()
		case err != nil && !errors.Is(err, os.ErrNotExist):
			slog.Default().Warn("a configuration file cannot be read", "file", path, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case err, ok := <-w.Errors:
			if !ok {
				return nil
			}
			slog.Default().Warn("watching a configuration file", "file", path, "err", err)
		case _, ok := <-w.Events:
			if !ok {
				return nil
			}
		}
	}
}

// Digest of a file's content.
func Digest(path string) ([32]byte, error) {
	data, err := os.ReadFile(path)
	return sha256.Sum256(data), err
}
