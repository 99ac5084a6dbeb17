package pause

import (
	"bytes"

	"hyperkube/internal/ociarchive"
)

// Archive is the image as an OCI archive (a tar file), under the given full reference. It is the same bytes each time.
func Archive(ref, arch string) ([]byte, error) {
	program, err := Program(arch)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = ociarchive.Write(&b, ociarchive.Image{
		Ref: ref, Architecture: arch, Entrypoint: []string{"/pause"}, User: "65535:65535", WorkingDir: "/",
		Files: []ociarchive.File{{Path: "pause", Mode: 0o755, Data: program}},
	})
	return b.Bytes(), err
}
