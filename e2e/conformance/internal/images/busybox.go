package images

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// busyboxSource is the source of the busybox in upstream's image, as Debian keeps it: unchanged. Debian's own build is not used, because Debian
// has its shell drop variables whose names it could not set itself, such as data-1, on which tests count.
const (
	busyboxSource = "https://deb.debian.org/debian/pool/main/b/busybox/busybox_1.37.0.orig.tar.bz2"
	busyboxSum    = "3311dff32e746499f4df0d5df04d7eb396382d7e108bb9250e7b519b837043a4"
	busyboxName   = "busybox-1.37.0"
)

// busyboxOptions are where the configuration differs from the default one: it is static, and leaves out tc, which does not compile against
// new headers of the kernel.
var busyboxOptions = map[string]string{"CONFIG_STATIC": "y", "CONFIG_TC": "n"}

// compileBusybox builds busybox in dir, and gives the program's path.
func compileBusybox(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(dir, "busybox-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	source, err := download(busyboxSource, busyboxSum)
	if err != nil {
		return "", err
	}
	if err := unpackSource(bzip2.NewReader(bytes.NewReader(source)), work); err != nil {
		return "", fmt.Errorf("unpacking %s: %w", busyboxSource, err)
	}
	tree := filepath.Join(work, busyboxName)
	if err := configureBusybox(tree); err != nil {
		return "", err
	}
	if err := makeIn(tree, fmt.Sprintf("-j%d", runtime.NumCPU()), "busybox"); err != nil {
		return "", err
	}
	program := filepath.Join(dir, "busybox")
	return program, os.Rename(filepath.Join(tree, "busybox"), program)
}

func configureBusybox(tree string) error {
	if err := makeIn(tree, "defconfig"); err != nil {
		return err
	}
	path := filepath.Join(tree, ".config")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var out strings.Builder
	for line := range strings.Lines(string(data)) {
		option, _, _ := strings.Cut(strings.TrimPrefix(line, "# "), " ")
		option, _, _ = strings.Cut(option, "=")
		if value, ours := busyboxOptions[option]; ours {
			line = option + "=" + value + "\n"
		}
		out.WriteString(line)
	}
	if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
		return err
	}
	return makeIn(tree, "oldconfig")
}

// makeIn runs make, which answers every question with its default.
func makeIn(dir string, args ...string) error {
	cmd := exec.Command("make", args...)
	cmd.Dir = dir
	// The variables of a make that runs this would be taken as this one's own.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C"}
	cmd.Stdin = strings.NewReader(strings.Repeat("\n", 4096))
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("busybox: make %s: %w: %s", strings.Join(args, " "), err, text[max(0, len(text)-2000):])
	}
	return nil
}

// download gives the body behind a URL, if it has the checksum.
func download(url, sum string) ([]byte, error) {
	client := http.Client{Timeout: 5 * time.Minute}
	resp, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	if got := sha256.Sum256(data); hex.EncodeToString(got[:]) != sum {
		return nil, fmt.Errorf("%s has SHA-256 %x, not %s", url, got, sum)
	}
	return data, nil
}

// unpackSource lays out the files of a tar archive below dir, and nothing outside of it.
func unpackSource(from io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for r := tar.NewReader(from); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(filepath.Clean(h.Name), 0o755)
		case tar.TypeSymlink:
			err = root.Symlink(h.Linkname, h.Name)
		case tar.TypeReg:
			err = unpackFile(root, h, r)
		}
		if err != nil {
			return err
		}
	}
}

func unpackFile(root *os.Root, h *tar.Header, from io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(h.Name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, h.FileInfo().Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	// Make compares times, and must not build anew what the archive brings built.
	return root.Chtimes(h.Name, h.ModTime, h.ModTime)
}
