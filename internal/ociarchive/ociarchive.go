// Package ociarchive writes container images as archives, without an engine: a tar file that is an OCI image layout
// (image-spec v1) and at the same time what `docker load` reads. The same input gives the same bytes.
package ociarchive

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"
	"strings"
)

// Image is what goes into one image: one layer of files, and how it runs.
type Image struct {
	Ref          string // fully qualified: registry.example/name:tag
	Architecture string // that of this binary when empty
	Entrypoint   []string
	Cmd          []string
	Env          []string
	User         string
	WorkingDir   string
	Labels       map[string]string
	Files        []File
}

// File is one file, directory or link of an image. Missing directories above it are made.
type File struct {
	Path string // without a leading slash
	Mode int64  // permission bits; 0 is 0755 for directories and links, 0644 for files
	Data []byte
	Link string // target; makes it a symbolic link
	Dir  bool
}

type object = map[string]any

// blob is a piece of an image, named by its content.
type blob struct {
	digest string
	data   []byte
}

func newBlob(data []byte) blob {
	sum := sha256.Sum256(data)
	return blob{"sha256:" + hex.EncodeToString(sum[:]), data}
}

func (b blob) path() string { return "blobs/sha256/" + strings.TrimPrefix(b.digest, "sha256:") }

func (b blob) describe(mediaType string) object {
	return object{"mediaType": mediaType, "digest": b.digest, "size": len(b.data)}
}

// Write writes an archive of the images.
func Write(w io.Writer, images ...Image) error {
	blobs := map[string]blob{}
	var index, docker []object
	for _, img := range images {
		img.Architecture = cmp.Or(img.Architecture, runtime.GOARCH)
		layer, diffID, err := layerOf(img.Files)
		if err != nil {
			return fmt.Errorf("image %s: %w", img.Ref, err)
		}
		config, err := configOf(img, diffID)
		if err != nil {
			return fmt.Errorf("image %s: %w", img.Ref, err)
		}
		manifest, err := encode(object{
			"schemaVersion": 2,
			"mediaType":     "application/vnd.oci.image.manifest.v1+json",
			"config":        config.describe("application/vnd.oci.image.config.v1+json"),
			"layers":        []object{layer.describe("application/vnd.oci.image.layer.v1.tar+gzip")},
		})
		if err != nil {
			return err
		}
		entry := manifest.describe("application/vnd.oci.image.manifest.v1+json")
		entry["platform"] = object{"os": "linux", "architecture": img.Architecture}
		entry["annotations"] = object{"io.containerd.image.name": img.Ref, "org.opencontainers.image.ref.name": img.Ref[strings.LastIndex(img.Ref, ":")+1:]}
		index = append(index, entry)
		docker = append(docker, object{"Config": config.path(), "RepoTags": []string{img.Ref}, "Layers": []string{layer.path()}})
		for _, b := range []blob{layer, config, manifest} {
			blobs[b.digest] = b
		}
	}
	return write(w, blobs, index, docker)
}

func write(w io.Writer, blobs map[string]blob, index, docker []object) error {
	top, err := encode(object{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": index})
	if err != nil {
		return err
	}
	forDocker, err := encode(docker)
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	put := func(name string, data []byte) error {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err := t.Write(data)
		return err
	}
	files := []struct {
		name string
		data []byte
	}{{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {"index.json", top.data}, {"manifest.json", forDocker.data}}
	for _, b := range blobs {
		files = append(files, struct {
			name string
			data []byte
		}{b.path(), b.data})
	}
	slices.SortStableFunc(files[3:], func(a, b struct {
		name string
		data []byte
	}) int {
		return cmp.Compare(a.name, b.name)
	})
	for _, f := range files {
		if err := put(f.name, f.data); err != nil {
			return err
		}
	}
	return t.Close()
}

func encode(v any) (blob, error) {
	data, err := json.Marshal(v)
	return newBlob(data), err
}

func configOf(img Image, diffID string) (blob, error) {
	return encode(object{
		"architecture": img.Architecture,
		"os":           "linux",
		"config": object{
			"Entrypoint": img.Entrypoint, "Cmd": img.Cmd, "Env": img.Env,
			"User": img.User, "WorkingDir": img.WorkingDir, "Labels": img.Labels,
		},
		"rootfs": object{"type": "layers", "diff_ids": []string{diffID}},
	})
}

// layerOf gives the compressed layer and the digest of its uncompressed form.
func layerOf(files []File) (blob, string, error) {
	var plain bytes.Buffer
	t := tar.NewWriter(&plain)
	made := map[string]bool{".": true, "": true}
	for _, f := range files {
		if err := f.write(t, made); err != nil {
			return blob{}, "", fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	if err := t.Close(); err != nil {
		return blob{}, "", err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain.Bytes()); err != nil {
		return blob{}, "", err
	}
	if err := z.Close(); err != nil {
		return blob{}, "", err
	}
	return newBlob(packed.Bytes()), newBlob(plain.Bytes()).digest, nil
}

func (f File) write(t *tar.Writer, made map[string]bool) error {
	name := strings.TrimPrefix(path.Clean("/"+f.Path), "/")
	if err := mkdir(t, made, path.Dir(name)); err != nil {
		return err
	}
	switch {
	case f.Dir:
		made[name] = true
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: cmp.Or(f.Mode, 0o755)})
	case f.Link != "":
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: f.Link, Mode: 0o777})
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: cmp.Or(f.Mode, 0o644), Size: int64(len(f.Data))}); err != nil {
		return err
	}
	_, err := t.Write(f.Data)
	return err
}

func mkdir(t *tar.Writer, made map[string]bool, dir string) error {
	if made[dir] {
		return nil
	}
	if err := mkdir(t, made, path.Dir(dir)); err != nil {
		return err
	}
	made[dir] = true
	return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755})
}
