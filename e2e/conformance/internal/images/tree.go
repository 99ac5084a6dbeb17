package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// tree is the file system of one layer in the making. Names have no leading slash.
type tree struct {
	entries map[string]entry
	// merged puts bin, sbin and lib below usr, as Debian does.
	merged bool
}

type entry struct {
	header tar.Header
	data   []byte
}

func newTree() *tree { return &tree{entries: map[string]entry{}} }

// debianTree is a tree with Debian's links from /bin to /usr/bin and the like.
func debianTree() *tree {
	t := newTree()
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		t.dir("usr/"+dir, 0o755)
		t.link(dir, "usr/"+dir)
	}
	t.merged = true
	return t
}

// place is where a name ends up, its parents included.
func (t *tree) place(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if first, _, below := strings.Cut(name, "/"); t.merged && below && slices.Contains([]string{"bin", "sbin", "lib", "lib64"}, first) {
		name = "usr/" + name
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := t.entries[dir]; !ok {
			t.entries[dir] = entry{header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}}
		}
	}
	return name
}

func (t *tree) file(name string, mode int64, data []byte) {
	t.entries[t.place(name)] = entry{tar.Header{Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(data))}, data}
}

func (t *tree) link(name, target string) {
	t.entries[t.place(name)] = entry{header: tar.Header{Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: target}}
}

func (t *tree) dir(name string, mode int64) {
	t.entries[t.place(name)] = entry{header: tar.Header{Typeflag: tar.TypeDir, Mode: mode}}
}

func (t *tree) has(name string) bool {
	_, ok := t.entries[t.place(name)]
	return ok
}

// useless tells what of a package no container needs.
func useless(name string) bool {
	return slices.ContainsFunc([]string{
		"usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/", "usr/share/lintian/",
		"usr/share/bash-completion/", "usr/share/i18n/", "usr/lib/systemd/", "lib/systemd/",
	}, func(p string) bool { return strings.HasPrefix(name+"/", p) })
}

// unpack adds the files of a Debian package.
func (t *tree) unpack(deb string) error {
	cmd := exec.Command("dpkg-deb", "--fsys-tarfile", deb)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", deb, err, stderr.Bytes())
	}
	for r := tar.NewReader(bytes.NewReader(out)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", deb, err)
		}
		if err := t.add(h, r); err != nil {
			return fmt.Errorf("%s: %s: %w", deb, h.Name, err)
		}
	}
}

func (t *tree) add(h *tar.Header, r io.Reader) error {
	raw := strings.Trim(path.Clean("/"+h.Name), "/")
	if raw == "" || useless(raw) {
		return nil
	}
	name := t.place(raw)
	switch h.Typeflag {
	case tar.TypeDir:
		if e, ok := t.entries[name]; ok && e.header.Typeflag == tar.TypeSymlink {
			return nil // /bin itself
		}
		t.entries[name] = entry{header: tar.Header{Typeflag: tar.TypeDir, Mode: h.Mode}}
	case tar.TypeSymlink:
		t.link(raw, h.Linkname)
	case tar.TypeLink:
		same, ok := t.entries[t.place(h.Linkname)]
		if !ok {
			return fmt.Errorf("a hard link to %s, which is not there", h.Linkname)
		}
		t.entries[name] = same
	case tar.TypeReg:
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		t.file(raw, h.Mode, data)
	}
	return nil
}

// layer is the tree as an image's layer; the same tree gives the same bytes.
func (t *tree) layer() (v1.Layer, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	names := make([]string, 0, len(t.entries))
	for name := range t.entries {
		names = append(names, name)
	}
	slices.Sort(names) // a directory comes before what is in it
	for _, name := range names {
		e := t.entries[name]
		h := e.header
		h.Name = name
		if h.Typeflag == tar.TypeDir {
			h.Name += "/"
		}
		if err := w.WriteHeader(&h); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil })
}
