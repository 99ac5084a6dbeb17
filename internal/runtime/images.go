package runtime

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	goruntime "runtime"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"hyperkube/internal/runtime/pause"
)

// namespace is where the CRI keeps what is Kubernetes'.
const namespace = "k8s.io"

// ImportImages reads a docker or OCI image archive (tar, also compressed by gzip or zstd) into the runtime that
// listens on a socket ("unix:///path" or a path) and returns the full names of its images, which the
// CRI knows when this returns. Images are unpacked, ready to start. An archive whose images have no names is an error.
func ImportImages(ctx context.Context, socket string, r io.Reader) ([]string, error) {
	c, err := dialContainerd(socket)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return importImages(ctx, c, socket, r, nil)
}

func dialContainerd(socket string) (*containerd.Client, error) {
	// Found out here, since a client that is made for no one only fails after its time limit, and in words of its own.
	if conn, err := net.Dial("unix", strings.TrimPrefix(socket, "unix://")); err != nil {
		return nil, fmt.Errorf("no containerd answers at %s (%w): does the node run?", socket, err)
	} else if err := conn.Close(); err != nil {
		return nil, err
	}
	c, err := containerd.New(strings.TrimPrefix(socket, "unix://"), containerd.WithDefaultNamespace(namespace),
		containerd.WithTimeout(10*time.Second))
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: %w", socket, err)
	}
	return c, nil
}

func importImages(ctx context.Context, c *containerd.Client, socket string, r io.Reader, labels map[string]string) ([]string, error) {
	ctx = namespaces.WithNamespace(ctx, namespace)
	plain, err := compression.DecompressStream(r)
	if err != nil {
		return nil, fmt.Errorf("image archive: %w", err)
	}
	defer plain.Close()
	opts := []containerd.ImportOpt{
		containerd.WithImageRefTranslator(fullName),
		containerd.WithSkipDigestRef(func(string) bool { return true }),
		containerd.WithAllPlatforms(true),
		containerd.WithSkipMissing(),
	}
	if labels != nil {
		opts = append(opts, containerd.WithImageLabels(labels))
	}
	imported, err := c.Import(ctx, plain, opts...)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrHeader) {
		return nil, fmt.Errorf("this is no image archive, or not all of one: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("image archive: %w", err)
	}
	if len(imported) == 0 {
		return nil, errors.New("image archive: it names no image")
	}
	snapshotter, err := snapshotterOf(ctx, c)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, img := range imported {
		if err := containerd.NewImageWithPlatform(c, img, platforms.Default()).Unpack(ctx, snapshotter); err != nil {
			return names, fmt.Errorf("unpacking image %s: %w", img.Name, err)
		}
		names = append(names, img.Name)
	}
	return names, waitForImages(ctx, socket, names)
}

// fullName completes a name as docker does (busybox is docker.io/library/busybox:latest); a bare tag, which
// some tools write in place of a name, gives none.
func fullName(ref string) string {
	if !strings.ContainsAny(ref, "/:") {
		return ""
	}
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return ""
	}
	return named.String()
}

// snapshotterOf asks a daemon, which may be another than ours, for a snapshotter that works.
func snapshotterOf(ctx context.Context, c *containerd.Client) (string, error) {
	for _, name := range []string{"overlayfs", "native"} {
		if _, err := c.SnapshotService(name).Usage(ctx, "does-not-exist"); errdefs.IsNotFound(err) {
			if _, err := c.GetSnapshotterCapabilities(ctx, name); err == nil {
				return name, nil
			}
		}
	}
	return "", errors.New("containerd: it has neither a working overlayfs nor a native snapshotter")
}

// waitForImages waits until the CRI, which learns of images by containerd's events, knows them all.
func waitForImages(ctx context.Context, socket string, names []string) error {
	_, images, closer, err := DialCRI(ctx, socket)
	if err != nil {
		return err
	}
	defer closer.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond) // The CRI has no event of its own for images.
	defer tick.Stop()
	for _, name := range names {
		for {
			r, err := images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
			if err != nil {
				return fmt.Errorf("image %s is imported, but the CRI does not know it: %w", name, err)
			}
			if r.Image != nil {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("image %s is imported, but the CRI does not know it: %w", name, context.Cause(ctx))
			}
		}
	}
	return nil
}

// pinned keeps an image from garbage collection.
var pinned = map[string]string{"io.cri-containerd.pinned": "pinned"}

// ensurePause imports the built-in pause image where the runtime uses it and does not have it in this form.
func ensurePause(ctx context.Context, socket, ref string) error {
	if ref != DefaultPauseImage {
		return nil
	}
	c, err := dialContainerd(socket)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx = namespaces.WithNamespace(ctx, namespace)
	var have images.Image
	if have, err = c.ImageService().Get(ctx, ref); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("pause image: %w", err)
	}
	if err == nil {
		if ok, _, _, _, err := images.Check(ctx, c.ContentStore(), have.Target, platforms.Default()); err == nil && ok {
			return nil
		}
	}
	archive, err := pause.Archive(ref, goruntime.GOARCH)
	if err != nil {
		return err
	}
	if _, err := importImages(ctx, c, socket, bytes.NewReader(archive), pinned); err != nil {
		return fmt.Errorf("pause image: %w", err)
	}
	return nil
}
