package images

import (
	"archive/tar"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestTreeBecomesALayer(t *testing.T) {
	fs := debianTree()
	fs.file("bin/tool", 0o4755, []byte("tool"))
	for _, h := range []tar.Header{
		{Name: "./bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./usr/share/doc/tool/README", Typeflag: tar.TypeReg},
		{Name: "./usr/bin/other", Typeflag: tar.TypeLink, Linkname: "./bin/tool"},
		{Name: "./lib/x/libtool.so", Typeflag: tar.TypeSymlink, Linkname: "libtool.so.1"},
	} {
		if err := fs.add(&h, strings.NewReader("")); err != nil {
			t.Fatal(err)
		}
	}
	if err := fs.add(&tar.Header{Name: "./usr/bin/third", Typeflag: tar.TypeLink, Linkname: "./bin/none"}, nil); err == nil {
		t.Error("a link to nothing was taken")
	}
	layer, err := fs.layer()
	if err != nil {
		t.Fatal(err)
	}
	r, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]tar.Header{}
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if parent, _, below := strings.Cut(strings.TrimSuffix(h.Name, "/"), "/"); below && got[parent+"/"].Name == "" {
			t.Errorf("%s comes before its directory", h.Name)
		}
		got[h.Name] = *h
	}
	if h := got["usr/bin/tool"]; h.Mode != 0o4755 || h.Size != 4 {
		t.Errorf("the setuid program: %+v", h)
	}
	if h := got["usr/bin/other"]; h.Typeflag != tar.TypeReg || h.Size != 4 {
		t.Errorf("the hard link: %+v", h)
	}
	if h := got["usr/lib/x/libtool.so"]; h.Linkname != "libtool.so.1" {
		t.Errorf("the link below lib: %+v", h)
	}
	if h := got["bin"]; h.Linkname != "usr/bin" {
		t.Errorf("bin itself: %+v", h)
	}
	for name := range got {
		if strings.Contains(name, "doc") {
			t.Errorf("%s is in the layer", name)
		}
	}
}

func TestReadsAptsPlan(t *testing.T) {
	text := "'http://h/a_1%2b2.deb' a_1+2_amd64.deb 86684 MD5Sum:ec42\nNeed to get\n'http://h/b.deb' b_3_amd64.deb 12 \n"
	var got []string
	for _, m := range planned.FindAllStringSubmatch(text, -1) {
		got = append(got, m[1])
	}
	if strings.Join(got, " ") != "a_1+2_amd64.deb b_3_amd64.deb" {
		t.Error(got)
	}
}
