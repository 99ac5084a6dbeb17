// Image packs the built binary as a container image: image BINARY OUTPUT REFERENCE. Any role runs by its arguments, and so
// does a whole cluster: iptables goes in beside the binary.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"hyperkube/internal/ociarchive"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: image BINARY OUTPUT REFERENCE")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func pack(binary, output, ref string) error {
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	files, err := tools(binary)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(output), ".image-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = ociarchive.Write(f, ociarchive.Image{
		Ref:        ref,
		Entrypoint: []string{"/usr/local/bin/hyperkube"},
		Env:        []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Files: append(files,
			ociarchive.File{Path: "usr/local/bin/hyperkube", Mode: 0o755, Data: data},
			ociarchive.File{Path: "tmp", Dir: true, Mode: 0o1777}),
	})
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), output)
}
