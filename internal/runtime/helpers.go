package runtime

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
)

// embedded holds the compressed helpers. The build writes them; the directory alone is in the sources.
//
//go:embed embedded
var embedded embed.FS

const (
	helperRunc = "runc"
	helperShim = "containerd-shim-runc-v2"
	helperCNI  = "hyperkube-cni"
)

// helperNames are what is embedded besides the architecture.
var helperNames = []string{helperRunc, helperShim, helperCNI}

// layOut writes the helpers into a directory below dir that is named after their contents, and gives its path. Helpers that
// are there already are left alone, so a helper in use is never written to.
func layOut(dir string) (string, error) {
	if err := helpersFor(goruntime.GOARCH); err != nil {
		return "", err
	}
	data := map[string][]byte{}
	sum := sha256.New()
	for _, name := range helperNames {
		d, err := embedded.ReadFile("embedded/" + name + ".zst")
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, errNoHelpers)
		}
		data[name] = d
		sum.Write(d)
	}
	home := filepath.Join(dir, hex.EncodeToString(sum.Sum(nil)[:6]))
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", fmt.Errorf("helper directory: %w", err)
	}
	var g errgroup.Group
	for name, d := range data {
		g.Go(func() error {
			if err := extract(d, filepath.Join(home, name)); err != nil {
				return fmt.Errorf("helper %s: %w", name, err)
			}
			return nil
		})
	}
	return home, g.Wait()
}

// loopback is a plugin that runtimes start for each pod besides the configured ones.
const loopback = "loopback"

// LayOutCNI writes the CNI plugin under a name into the directory of executables of a runtime that is not ours, and under
// the name loopback where there is none.
func LayOutCNI(dir, name string) error {
	if err := helpersFor(goruntime.GOARCH); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("directory of CNI plugins: %w", err)
	}
	if err := writeCNI(filepath.Join(dir, name)); err != nil {
		return fmt.Errorf("CNI plugin: %w", err)
	}
	err := os.Link(filepath.Join(dir, name), filepath.Join(dir, loopback))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("CNI plugin: %w", err)
	}
	return nil
}

func writeCNI(path string) error {
	data, err := embedded.ReadFile("embedded/" + helperCNI + ".zst")
	if err != nil {
		return errNoHelpers
	}
	if ok, err := whole(path, data); ok || err != nil {
		return err
	}
	zr, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer zr.Close()
	return writeProgram(path, zr)
}

// RemoveCNI undoes [LayOutCNI].
func RemoveCNI(dir, name string) error {
	own, err := os.Stat(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st, err := os.Stat(filepath.Join(dir, loopback)); err == nil && os.SameFile(st, own) {
		if err := os.Remove(filepath.Join(dir, loopback)); err != nil {
			return err
		}
	}
	return os.Remove(filepath.Join(dir, name))
}

var errNoHelpers = errors.New("the helper programs are not embedded in this binary: build it with make")

func helpersFor(arch string) error {
	built, err := embedded.ReadFile("embedded/arch")
	if err != nil {
		return errNoHelpers
	}
	if got := strings.TrimSpace(string(built)); got != arch {
		return fmt.Errorf("the embedded helper programs are for %s, this binary is for %s: build both for the same", got, arch)
	}
	return nil
}

func extract(data []byte, path string) error {
	if ok, err := whole(path, data); ok || err != nil {
		return err
	}
	zr, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer zr.Close()
	return writeProgram(path, zr) // The decoder verifies the checksum that the compressor stored.
}

// whole tells whether a helper lies at path with the size that it must have.
func whole(path string, data []byte) (bool, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var h zstd.Header
	if err := h.Decode(data); err != nil {
		return false, err
	}
	return st.Mode().Perm()&0o111 != 0 && st.Size() > 0 && (!h.HasFCS || uint64(st.Size()) == h.FrameContentSize), nil
}

// writeProgram puts an executable in place at once when it is whole and on disk.
func writeProgram(path string, r io.Reader) error {
	w, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(w.Name())
	defer w.Close()
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	if err := w.Chmod(0o755); err != nil {
		return err
	}
	if err := w.Sync(); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.Rename(w.Name(), path)
}
