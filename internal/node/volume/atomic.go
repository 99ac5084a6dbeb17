package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// file is one file of a volume made from objects.
type file struct {
	data []byte
	mode fs.FileMode
	uid  *int64 // owner; nil is root
}

const (
	dataLink    = "..data"
	dataNewLink = "..data_tmp"
)

// writeAtomically makes dir hold exactly the payload. The files are in a directory of their own that the link ..data
// points to, and what users see are links through it: replacing ..data replaces all of them in one step.
// prepare is called on the new directory before it becomes visible.
// It does nothing when the content is there already, and says whether it changed anything.
func writeAtomically(dir string, payload map[string]file, prepare func(newDir string) error) (bool, error) {
	for path := range payload {
		if err := checkPath(path); err != nil {
			return false, err
		}
	}
	oldName, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if oldName != "" && same(filepath.Join(dir, oldName), payload) {
		return false, linkVisible(dir, payload)
	}
	newDir, err := os.MkdirTemp(dir, "..2")
	if err != nil {
		return false, err
	}
	if err := fill(newDir, payload, prepare); err != nil {
		return false, errors.Join(err, os.RemoveAll(newDir))
	}
	if err := swap(dir, filepath.Base(newDir)); err != nil {
		return false, errors.Join(err, os.RemoveAll(newDir))
	}
	if err := linkVisible(dir, payload); err != nil {
		return true, err
	}
	return true, dropStale(dir, filepath.Base(newDir))
}

// checkPath keeps files inside the volume and away from the names that the writer itself uses.
func checkPath(p string) error {
	if p == "" || filepath.IsAbs(p) || len(p) > 4096 {
		return fmt.Errorf("invalid path: must be relative and not empty: %q", p)
	}
	for _, part := range strings.Split(p, "/") {
		if part == ".." || len(part) > 255 {
			return fmt.Errorf("invalid path %q: must not contain '..' or names longer than 255", p)
		}
	}
	if strings.HasPrefix(p, "..") {
		return fmt.Errorf("invalid path: must not start with '..': %s", p)
	}
	return nil
}

func fill(dir string, payload map[string]file, prepare func(string) error) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for path, f := range payload {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, f.data, f.mode); err != nil {
			return err
		}
		if err := os.Chmod(full, f.mode); err != nil { // in spite of the umask
			return err
		}
		if f.uid != nil {
			if err := os.Chown(full, int(*f.uid), -1); err != nil {
				return err
			}
		}
	}
	return prepare(dir)
}

func swap(dir, newName string) error {
	tmp := filepath.Join(dir, dataNewLink)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(newName, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, dataLink))
}

// linkVisible makes the links that users see and removes those that lead nowhere now.
func linkVisible(dir string, payload map[string]file) error {
	want := map[string]bool{}
	for path := range payload {
		top, _, _ := strings.Cut(filepath.Clean(path), "/")
		want[top] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasPrefix(name, ".."):
		case want[name]:
			delete(want, name)
		default:
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	names := make([]string, 0, len(want))
	for n := range want {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		if err := os.Symlink(filepath.Join(dataLink, n), filepath.Join(dir, n)); err != nil {
			return err
		}
	}
	return nil
}

// dropStale removes the directories of earlier contents.
func dropStale(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..2") && e.Name() != keep {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// same says whether dir holds exactly the payload's files and bytes. Modes do not change during a volume's life.
func same(dir string, payload map[string]file) bool {
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, ok := lookup(payload, rel)
		if !ok {
			return errors.New("one file too many")
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(data, f.data) {
			return errors.New("changed")
		}
		n++
		return nil
	})
	return err == nil && n == len(payload)
}

func lookup(payload map[string]file, rel string) (file, bool) {
	if f, ok := payload[rel]; ok {
		return f, true
	}
	for p, f := range payload {
		if filepath.Clean(p) == rel {
			return f, true
		}
	}
	return file{}, false
}
