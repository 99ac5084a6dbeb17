package scenario

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
)

func size() Scenario {
	plain := Figure{Name: "binaries", Unit: "MB", Goal: 110}
	packed := Figure{Name: "binaries, compressed", Unit: "MB", Goal: 30}
	return Scenario{
		Name:     "size",
		Sentence: "The files of the programs that make up a node and its control plane, and the same compressed by zstd (klauspost's best level, a window of 64 MB).",
		Figures:  []Figure{plain, packed},
		Limit:    5 * time.Minute,
		Once:     true,
		Run: func(_ context.Context, r *Round) error {
			var sum, small int64
			for _, file := range r.System.Binaries() {
				n, z, err := sizes(file)
				if err != nil {
					return err
				}
				sum, small = sum+n, small+z
			}
			r.Record(plain.Name, megabytes(sum))
			r.Record(packed.Name, megabytes(small))
			return nil
		},
	}
}

func sizes(file string) (plain, packed int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	var n counter
	z, err := zstd.NewWriter(&n, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(64<<20))
	if err != nil {
		return 0, 0, err
	}
	if plain, err = io.Copy(z, f); err != nil {
		return 0, 0, err
	}
	if err := z.Close(); err != nil {
		return 0, 0, err
	}
	return plain, int64(n), nil
}

// counter is a writer that keeps nothing but the length.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
