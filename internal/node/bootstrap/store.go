package bootstrap

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"time"

	"hyperkube/internal/pki"
)

// store keeps the newest of a kind of certificates on disk.
type store struct{ dir, name string } // name: "kubelet-client"

func (s store) current() string { return filepath.Join(s.dir, s.name+"-current.pem") }

// load the newest certificate; nil when there is none.
func (s store) load() (*tls.Certificate, error) {
	data, err := os.ReadFile(s.current())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parse(data)
}

func parse(data []byte) (*tls.Certificate, error) {
	c, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, err
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

// kept is how many files of a kind stay, for somebody who has to go back.
const kept = 3

// save a certificate with its key and make it the newest, in one step.
func (s store) save(data []byte, now time.Time) (*tls.Certificate, error) {
	c, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("the issued certificate: %w", err)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	file := s.name + "-" + now.UTC().Format("2006-01-02-15-04-05") + ".pem"
	if err := pki.WriteFile(filepath.Join(s.dir, file), data, 0o600, true); err != nil {
		return nil, err
	}
	tmp := s.current() + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.Symlink(file, tmp); err != nil {
		return nil, err
	}
	if err := os.Rename(tmp, s.current()); err != nil {
		return nil, err
	}
	return c, s.prune()
}

func (s store) prune() error {
	files, err := filepath.Glob(filepath.Join(s.dir, s.name+"-2*.pem"))
	if err != nil {
		return err
	}
	sort.Strings(files)
	for len(files) > kept {
		if err := os.Remove(files[0]); err != nil {
			return err
		}
		files = files[1:]
	}
	return nil
}

// renewAt is when 70 to 90 % of a certificate's life are over, so that not all nodes ask at once.
func renewAt(c *x509.Certificate) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	return c.NotBefore.Add(time.Duration(float64(life) * (0.7 + 0.2*rand.Float64())))
}
