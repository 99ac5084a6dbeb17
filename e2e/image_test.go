package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"hyperkube/internal/ociarchive"
)

// The test images are one program in two versions: see webapp.
const (
	webImage  = "example.test/webapp:1"
	webImage2 = "example.test/webapp:2"
)

// webapp is the test program outside of its images.
func (h *host) webapp() string { return filepath.Join(filepath.Dir(h.bin), "webapp") }

// fetch asks for a URL from the machine itself.
func (h *host) fetch(url string) (string, error) {
	out, err := h.in(h.webapp(), "get", url).CombinedOutput()
	return string(out), err
}

// await asks for a URL until it is answered: what was just made takes a moment to reach the rules of a node.
func (h *host) await(url string) string {
	h.t.Helper()
	out, err := h.in(h.webapp(), "await", url).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s: %v: %s", url, err, out)
	}
	return string(out)
}

// fetches fails the test unless a URL is answered, the first time, with a text that begins so.
func (h *host) fetches(url, prefix string) {
	h.t.Helper()
	if got, err := h.fetch(url); err != nil || !strings.HasPrefix(got, prefix) {
		h.t.Errorf("%s: %q, %v", url, got, err)
	}
}

// archive builds the test images and gives the file with both.
func (h *host) archive() string {
	h.t.Helper()
	build := exec.Command("go", "build", "-trimpath", "-o", h.webapp(), "./webapp")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		h.t.Fatalf("building the test image: %v: %s", err, out)
	}
	program, err := os.ReadFile(h.webapp())
	if err != nil {
		h.t.Fatal(err)
	}
	f, err := os.CreateTemp(h.t.TempDir(), "image-*.tar")
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	if err := ociarchive.Write(f, image(webImage, "v1", program), image(webImage2, "v2", program)); err != nil {
		h.t.Fatal(err)
	}
	return f.Name()
}

// importImage loads the test images.
func (h *host) importImage(flags ...string) {
	h.t.Helper()
	args := append(append([]string{"images", "import", "--data-dir", h.data}, flags...), h.archive())
	if got := h.run(args...); !strings.Contains(got, webImage) || !strings.Contains(got, webImage2) {
		h.t.Fatalf("images import printed %q", got)
	}
}

func image(ref, version string, program []byte) ociarchive.Image {
	return ociarchive.Image{
		Ref: ref, Entrypoint: []string{"/webapp"}, Cmd: []string{"serve"}, Env: []string{"PATH=/bin", "VERSION=" + version},
		Files: []ociarchive.File{
			{Path: "webapp", Mode: 0o755, Data: program},
			{Path: "bin/tar", Link: "/webapp"},
			{Path: "bin/test", Link: "/webapp"},
			{Path: "tmp", Dir: true, Mode: 0o1777},
		},
	}
}
