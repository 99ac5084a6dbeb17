package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Info is a certificate in a PKI directory.
type Info struct {
	// Name is its file's, relative to the directory and without .crt: "apiserver", "etcd/server".
	Name string
	Cert *x509.Certificate
	// Authority is the name of the authority in the same directory that signed it, its own for an authority's; empty when
	// no authority here did.
	Authority string
}

// List gives every certificate below dir, authorities first. A file that holds none is an error that names it.
func List(dir string) ([]Info, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("certificate directory: %w", err)
	}
	var all []Info
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".crt" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		certs, err := ParseCerts(data)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		rel, err := filepath.Rel(dir, path)
		all = append(all, Info{Name: strings.TrimSuffix(filepath.ToSlash(rel), ".crt"), Cert: certs[0]})
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Info) int {
		if a.Cert.IsCA != b.Cert.IsCA {
			if a.Cert.IsCA {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	for i := range all {
		all[i].Authority = signer(all, all[i].Cert)
	}
	return all, nil
}

// signer is the name of the authority that signed a certificate.
func signer(all []Info, c *x509.Certificate) string {
	for _, a := range all {
		if a.Cert.IsCA && c.CheckSignatureFrom(a.Cert) == nil {
			return a.Name
		}
	}
	return ""
}

// Renew issues a certificate of dir anew, with a new key, for the same subject, names and usages, whatever remains of its life.
func Renew(dir, name string, now time.Time) (Info, error) {
	unlock, err := lock(dir)
	if err != nil {
		return Info{}, err
	}
	defer unlock()
	all, err := List(dir)
	if err != nil {
		return Info{}, err
	}
	i := slices.IndexFunc(all, func(c Info) bool { return c.Name == name })
	if i < 0 {
		return Info{}, fmt.Errorf("there is no certificate %q in %s", name, dir)
	}
	old := all[i]
	switch {
	case old.Cert.IsCA:
		return old, fmt.Errorf("%q is an authority: it is not renewed, since every certificate that it issued would have to be replaced with it", name)
	case old.Authority == "":
		return old, fmt.Errorf("%q was signed by no authority of %s", name, dir)
	}
	f := &Files{Dir: dir}
	from := f.pair(old.Authority)
	ca, err := LoadCA(from.CertFile, from.KeyFile)
	if err != nil {
		return old, err
	}
	if !now.Before(ca.Cert.NotAfter) {
		return old, errors.New("the authority " + from.CertFile + " has ended")
	}
	c := old.Cert
	certPEM, keyPEM, err := ca.Issue(Request{
		CommonName: c.Subject.CommonName, Organizations: c.Subject.Organization,
		DNSNames: c.DNSNames, IPs: c.IPAddresses, URIs: c.URIs, Usages: c.ExtKeyUsage,
	}, now)
	if err != nil {
		return old, err
	}
	if err := writePair(f.pair(name), certPEM, keyPEM, true); err != nil {
		return old, err
	}
	certs, err := ParseCerts(certPEM)
	if err != nil {
		return old, err
	}
	return Info{Name: name, Cert: certs[0], Authority: old.Authority}, nil
}
