package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Pair is a certificate and its key on disk, both PEM.
type Pair struct{ CertFile, KeyFile string }

// Read gives the contents of both files.
func (p Pair) Read() (certPEM, keyPEM []byte, err error) {
	if certPEM, err = os.ReadFile(p.CertFile); err != nil {
		return nil, nil, err
	}
	if keyPEM, err = os.ReadFile(p.KeyFile); err != nil {
		return nil, nil, err
	}
	return certPEM, keyPEM, nil
}

// TLS loads the pair; Leaf of the result is set.
func (p Pair) TLS() (*tls.Certificate, error) {
	certPEM, keyPEM, err := p.Read()
	if err != nil {
		return nil, err
	}
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s with key %s: %w", p.CertFile, p.KeyFile, err)
	}
	return &c, nil
}

// LoadCA reads an authority. A missing key file is no error: see [CA]. A bundle's first
// certificate is the one that issues.
func LoadCA(certFile, keyFile string) (*CA, error) {
	data, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority: %w", err)
	}
	certs, err := ParseCerts(data)
	if err != nil {
		return nil, fmt.Errorf("certificate authority %s: %w", certFile, err)
	}
	ca := &CA{Cert: certs[0], PEM: data, CertFile: certFile, KeyFile: keyFile}
	if !ca.Cert.IsCA {
		return nil, fmt.Errorf("certificate authority %s: the certificate of %q is not one of an authority", certFile, ca.Cert.Subject)
	}
	if keyFile == "" {
		return ca, nil
	}
	ca.Key, err = LoadKey(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return ca, nil
	}
	if err != nil {
		return nil, err
	}
	if !samePublic(ca.Key.Public(), ca.Cert.PublicKey) {
		return nil, fmt.Errorf("the key %s does not belong to the certificate authority %s", keyFile, certFile)
	}
	return ca, nil
}

// LoadKey reads a private key: PKCS #1, PKCS #8 or SEC 1 in PEM.
func LoadKey(file string) (crypto.Signer, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading a private key: %w", err)
	}
	k, err := ParseKey(data)
	if err != nil {
		return nil, fmt.Errorf("private key %s: %w", file, err)
	}
	return k, nil
}

// ParseKey reads the first private key of some PEM blocks.
func ParseKey(data []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		default: // EC PARAMETERS and the like
			continue
		}
		if err != nil {
			return nil, err
		}
		s, ok := key.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("a %T cannot sign", key)
		}
		return s, nil
	}
	return nil, errors.New("holds no PEM private key")
}

// LoadPublicKeys reads all public keys of a file: PEM public keys, certificates, and private keys,
// whose public half counts.
func LoadPublicKeys(file string) ([]crypto.PublicKey, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading public keys: %w", err)
	}
	var keys []crypto.PublicKey
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		key, err := publicOf(block)
		if err != nil {
			return nil, fmt.Errorf("public keys in %s: %w", file, err)
		}
		if key != nil {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no PEM public key", file)
	}
	return keys, nil
}

func publicOf(block *pem.Block) (crypto.PublicKey, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return c.PublicKey, nil
	case "EC PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY":
		k, err := ParseKey(pem.EncodeToMemory(block))
		if err != nil {
			return nil, err
		}
		return k.Public(), nil
	}
	return nil, nil
}

// ParseCerts reads all certificates of some PEM blocks; none is an error.
func ParseCerts(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("holds no PEM certificate")
	}
	return certs, nil
}

// WriteFile puts data at path, whole or not at all, with the given mode, and makes its directory (0700). It does
// nothing when the file is already so. With durable it returns when the data is on the disk.
func WriteFile(path string, data []byte, mode os.FileMode, durable bool) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return os.Chmod(path, mode)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing left to remove
	if err := fill(f, data, mode, durable); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

func fill(f *os.File, data []byte, mode os.FileMode, durable bool) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil && durable {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func samePublic(a, b crypto.PublicKey) bool {
	switch k := a.(type) {
	case *ecdsa.PublicKey:
		return k.Equal(b)
	case *rsa.PublicKey:
		return k.Equal(b)
	case ed25519.PublicKey:
		return k.Equal(b)
	}
	return false
}
