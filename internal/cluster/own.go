package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// owned are the names that a node uses in its data directory: what reset removes there, and nothing else. A new file of the
// layout belongs here too.
var owned = []string{
	"admin.kubeconfig", "kubelet.kubeconfig", "node.json", "hyperkube.log", "lock", "kubelet-config.yaml", "net-conf.json",
	"pki", "etcd", "containerd", "kubelet", "logs", "cni", "manifests",
}

// ownedRun are those in the run directory.
var ownedRun = []string{"lock", "containerd", "cni"}

// ErrForeign says that a directory holds other things than a node's.
var ErrForeign = errors.New("the directory is not one of hyperkube")

// isOwned also knows the temporary files of atomic writes: .NAME.123, NAME.tmp.
func isOwned(name string, owned []string) bool {
	if strings.HasPrefix(name, probePrefix) {
		return true
	}
	if rest, hidden := strings.CutPrefix(name, "."); hidden {
		return slices.ContainsFunc(owned, func(o string) bool { return strings.HasPrefix(rest, o+".") })
	}
	return slices.Contains(owned, strings.TrimSuffix(name, ".tmp"))
}

// strangers are the names in a directory that are not a node's. What every new file system holds is none.
func strangers(dir string, owned []string) (names []string, empty bool, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	empty = true
	for _, e := range entries {
		if e.Name() == "lost+found" {
			continue
		}
		empty = false
		if !isOwned(e.Name(), owned) {
			names = append(names, e.Name())
		}
	}
	return names, empty, nil
}

// checkOwn refuses directories that are somebody else's: a node started there would mix its files with theirs, and reset would
// take theirs for its own (/var/lib has a kubelet and a containerd on many machines).
func (l Layout) checkOwn() error {
	if _, err := os.Lstat(l.node()); err == nil {
		return nil
	}
	for dir, owned := range map[string][]string{l.Data: owned, l.Run: ownedRun} {
		names, _, err := strangers(dir, owned)
		if err != nil {
			return fmt.Errorf("the directories of the node: %w", err)
		}
		if len(names) > 0 {
			return fmt.Errorf("%w: %s holds other things (%s): give an empty directory, or one that a node was started with", ErrForeign, dir, some(names))
		}
	}
	return nil
}

func some(names []string) string {
	if len(names) > 3 {
		names = append(slices.Clone(names[:3]), "…")
	}
	return strings.Join(names, ", ")
}

// Recognise tells whether there is something of a node to remove: [ErrNoNode] when there is nothing, [ErrForeign]
// when the data directory is somebody else's. It needs no node.json: a directory with nothing but a node's files is a node's.
func (l Layout) Recognise() error {
	if _, err := os.Lstat(l.node()); err == nil {
		return nil
	}
	names, empty, err := strangers(l.Data, owned)
	switch {
	case err != nil:
		return err
	case len(names) > 0:
		return fmt.Errorf("%w: %s has no node.json and holds other things (%s)", ErrForeign, l.Data, some(names))
	case !empty:
		return nil
	}
	if _, err := os.Lstat(l.Run); err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrNoNode, l.Data)
}

// Remove deletes what the node wrote: the names of the layout in both directories, and these when nothing else is
// in them. It never deletes through a mount, so that what pods were given of the machine stays whatever went wrong
// before, and never follows a link. What it must leave is an error.
func (l Layout) Remove() error {
	if err := errors.Join(removeOwned(l.Run, ownedRun, ""), removeOwned(l.Data, owned, filepath.Base(l.node()))); err != nil {
		return err
	}
	// The file by which the rest is known for ours goes last.
	if err := os.Remove(l.node()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, dir := range []string{l.Run, l.Data} {
		_ = unix.Rmdir(dir) // it stays when it is a mount point, or holds what is not ours
	}
	return nil
}

func removeOwned(dir string, owned []string, except string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if isOwned(e.Name(), owned) && e.Name() != except {
			errs = append(errs, removeTree(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
