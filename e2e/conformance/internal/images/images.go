// Package images makes the container images that upstream's conformance suite runs, without a registry and without an
// engine: from upstream's own programs, built from its module, and from Debian's packages. They carry upstream's names; the
// README of this module says in what they differ from the originals.
package images

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const (
	arch = runtime.GOARCH
	// nameKey is where containerd finds the full name of an image in an archive.
	nameKey = "io.containerd.image.name"
	tagKey  = "org.opencontainers.image.ref.name"
)

// recipe is this package itself: other images come out of other source.
//
//go:embed *.go
var recipe embed.FS

// Programs are upstream's programs that go into images.
var Programs = []string{"agnhost", "nnp", "sample-apiserver", "etcd"}

// Set is the images on disk.
type Set struct {
	// Archive is an OCI archive of all of them.
	Archive string
	layout  layout.Path
}

// Make gives the images, which it makes unless they are there already. programs is the directory with upstream's
// programs, source that of the module k8s.io/kubernetes, and cache is where the images are kept.
func Make(programs, source, cache string) (*Set, error) {
	key, err := keyOf(programs, source)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	dir := filepath.Join(cache, "images-"+key)
	s := &Set{Archive: dir + ".tar", layout: layout.Path(dir)}
	if _, err := os.Stat(s.Archive); err == nil {
		return s, nil
	}
	k := &kitchen{programs: programs, source: source, apt: debian{filepath.Join(cache, "debian")}}
	all, err := k.all()
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	if err := s.write(all); err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	return s, forget(cache, key)
}

// keyOf is a hash over all that the images are made of, Debian's packages excepted: those of the first time are good.
func keyOf(programs, source string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, arch, source)
	sources, err := fs.Glob(recipe, "*.go")
	if err != nil {
		return "", err
	}
	for _, f := range sources {
		data, err := recipe.ReadFile(f)
		if err != nil {
			return "", err
		}
		h.Write(data)
	}
	for _, p := range Programs {
		data, err := os.ReadFile(filepath.Join(programs, p+".key"))
		if err != nil {
			return "", err
		}
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// write lays the images out on disk, and makes the archive last: it is the sign that all is there.
func (s *Set) write(all map[string]v1.Image) error {
	if err := os.RemoveAll(string(s.layout)); err != nil {
		return err
	}
	l, err := layout.Write(string(s.layout), empty.Index)
	if err != nil {
		return err
	}
	for _, ref := range slices.Sorted(maps.Keys(all)) {
		err := l.AppendImage(all[ref], layout.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}),
			layout.WithAnnotations(map[string]string{nameKey: ref, tagKey: ref[strings.LastIndex(ref, ":")+1:]}))
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
	}
	tmp, err := os.Create(s.Archive + ".tmp")
	if err != nil {
		return err
	}
	defer tmp.Close()
	w := tar.NewWriter(tmp)
	if err := w.AddFS(os.DirFS(string(s.layout))); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), s.Archive)
}

// forget removes images of older recipes.
func forget(cache, key string) error {
	old, err := filepath.Glob(filepath.Join(cache, "images-*"))
	if err != nil {
		return err
	}
	for _, f := range old {
		if !strings.Contains(f, key) {
			if err := os.RemoveAll(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// Each calls f with every image and its name.
func (s *Set) Each(f func(ref string, img v1.Image) error) error {
	index, err := s.layout.ImageIndex()
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range manifest.Manifests {
		img, err := index.Image(d.Digest)
		if err != nil {
			return err
		}
		if err := f(d.Annotations[nameKey], img); err != nil {
			return fmt.Errorf("%s: %w", d.Annotations[nameKey], err)
		}
	}
	return nil
}

// Registry is a registry that has the images under the paths that they have at upstream's.
func (s *Set) Registry(ctx context.Context) (http.Handler, error) {
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	err := s.Each(func(ref string, img v1.Image) error {
		_, path, _ := strings.Cut(ref, "/")
		to, err := name.ParseReference("in-process.invalid/"+path, name.Insecure)
		if err != nil {
			return err
		}
		return remote.Write(to, img, remote.WithContext(ctx), remote.WithTransport(inProcess{handler}))
	})
	return handler, err
}

// inProcess carries requests to a handler without a socket.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	p.handler.ServeHTTP(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}
