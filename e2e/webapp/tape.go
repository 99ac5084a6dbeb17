package main

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tape is as much of tar as `kubectl cp` asks for: cf - PATH, and xmf - [-C DIRECTORY] with any of its flags.
func tape(args []string, in io.Reader, out io.Writer) error {
	dir, path := ".", ""
	for i := 1; i < len(args); i++ {
		switch {
		case args[i] == "-C" && i+1 < len(args):
			i++
			dir = args[i]
		case args[i] == "-" || strings.HasPrefix(args[i], "--"):
		default:
			path = args[i]
		}
	}
	switch mode := args[0]; {
	case strings.Contains(mode, "c") && path != "":
		return pack(filepath.Join(dir, path), path, out)
	case strings.Contains(mode, "x"):
		return unpack(in, dir)
	}
	return fmt.Errorf("tar: what is %q?", args)
}

func pack(from, name string, out io.Writer) error {
	w := tar.NewWriter(out)
	if filepath.IsAbs(name) {
		from = name
	}
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		h, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		h.Name = strings.TrimPrefix(path, "/")
		if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
	if err != nil {
		return err
	}
	return w.Close()
}

func unpack(in io.Reader, dir string) error {
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fs.FileMode(h.Mode).Perm())
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, r); err != nil {
			f.Close()
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
}
