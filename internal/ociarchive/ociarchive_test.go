package ociarchive

import (
	"bytes"
	"io"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestArchiveIsWhatDockerLoads(t *testing.T) {
	img := Image{
		Ref: "example.test/tool:1", Entrypoint: []string{"/bin/tool"}, User: "7",
		Files: []File{{Path: "bin/tool", Data: []byte("#!"), Mode: 0o755}, {Path: "bin/alias", Link: "tool"}, {Path: "tmp", Dir: true, Mode: 0o1777}},
	}
	var one, two bytes.Buffer
	if err := Write(&one, img); err != nil {
		t.Fatal(err)
	}
	if err := Write(&two, img); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("the same image gave different bytes")
	}
	got, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(one.Bytes())), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil {
		t.Error(err)
	}
	c, err := got.ConfigFile()
	if err != nil || c.Config.User != "7" || c.Config.Entrypoint[0] != "/bin/tool" {
		t.Errorf("%+v %v", c, err)
	}
	flat, err := io.ReadAll(mutate.Extract(got))
	if err != nil || !bytes.Contains(flat, []byte("bin/alias")) {
		t.Error("the link is missing", err)
	}
}
