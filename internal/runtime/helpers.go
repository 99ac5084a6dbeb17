package runtime

import (
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

// layOut writes the helpers below dir, each in a directory named after its contents, and gives their paths. What is there
// already is left alone, so a helper in use is never written to.
func layOut(dir string) (map[string]string, error) {
	if err := helpersFor(goruntime.GOARCH); err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for _, name := range []string{helperRunc, helperShim, helperCNI} {
		path, err := extract(embedded, "embedded/"+name+".zst", dir, name)
		if err != nil {
			return nil, err
		}
		paths[name] = path
	}
	return paths, nil
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

func extract(from fs.FS, file, dir, name string) (string, error) {
	data, err := fs.ReadFile(from, file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: %w", name, errNoHelpers)
	}
	if err != nil {
		return "", fmt.Errorf("embedded helper: %w", err)
	}
	sum := sha256.Sum256(data)
	home := filepath.Join(dir, hex.EncodeToString(sum[:6]))
	path := filepath.Join(home, name)
	zr, err := zstd.NewReader(strings.NewReader(string(data)), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return "", fmt.Errorf("embedded helper %s: %w", name, err)
	}
	defer zr.Close()
	if ok, err := whole(path, data); ok || err != nil {
		return path, err
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", fmt.Errorf("helper directory: %w", err)
	}
	// The decoder verifies the checksum that the compressor stored.
	if err := writeProgram(path, zr); err != nil {
		return "", fmt.Errorf("helper %s: %w", name, err)
	}
	return path, nil
}

// whole tells whether a helper lies at path with the size that it must have.
func whole(path string, data []byte) (bool, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("helper: %w", err)
	}
	var h zstd.Header
	if err := h.Decode(data); err != nil {
		return false, fmt.Errorf("embedded helper: %w", err)
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
